"""Postgres through aiopg: one pool for a service, guarded against aiopg's ways with time-outs and restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal
from weakref import WeakKeyDictionary

import aiopg
import psycopg2
import psycopg2.errors
import structlog
from aiohttp import web
from psycopg2.extensions import parse_dsn

from service_kit.errors import Unavailable
from service_kit.health import CHECKS, Check
from service_kit.refused_connections import cure
from service_kit.settings import PostgresUrl

CONNECT_TIMEOUT_SECONDS = 5.0
STATEMENT_TIMEOUT_SECONDS = 5.0
POOL_LIMIT = 4
# Half-open connections are noticed within about 20 s; TCP only, a Unix socket ignores them.
_KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10000,
}
log = structlog.get_logger()
cure()

# Preparing was cut short, or a migration has changed what the statement returns since.
_NOT_PREPARED = (psycopg2.errors.InvalidSqlStatementName, psycopg2.errors.FeatureNotSupported)
Row = tuple[Any, ...]
Parameters = tuple[Any, ...] | dict[str, Any] | None


class DatabaseUnavailable(Unavailable):
    """Postgres cannot be reached."""

    code = "database_unavailable"


class StatementTimeout(Unavailable):
    """A statement ran into its time limit or was cancelled on the server; whether it took effect is unknown."""

    code = "database_timeout"


async def connect(url: PostgresUrl, service: str) -> aiopg.Connection:
    """Open a connection of its own, outside the pool, as LISTEN needs one. The caller closes it.

    Raises DatabaseUnavailable.
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            return await aiopg.connect(**_arguments(url, service))
    except (psycopg2.Error, OSError, TimeoutError) as error:
        raise DatabaseUnavailable("The database cannot be reached.") from error


def _arguments(url: PostgresUrl, service: str) -> dict[str, Any]:
    milliseconds = int(STATEMENT_TIMEOUT_SECONDS * 1000)
    given = parse_dsn(url.get_secret_value())
    limits = f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout=30000"
    return {
        "timeout": CONNECT_TIMEOUT_SECONDS,
        # hstore and uuid support would cost a catalogue query a connection.
        "enable_hstore": False,
        "enable_uuid": False,
        **_KEEPALIVE,
        "application_name": f"wegit-{service}",
        **given,
        "options": f"{given.get('options', '')} {limits}".strip(),
    }


@asynccontextmanager
async def cursor(connection: aiopg.Connection, timeout_seconds: float | None = None) -> AsyncIterator[aiopg.Cursor]:
    """A cursor whose failures have types. `timeout_seconds` is for connections with a time limit of their own.

    aiopg tells of a server-side time-out with CancelledError although nobody cancelled this task: that becomes
    StatementTimeout. Raises DatabaseUnavailable when the connection is lost.
    """
    task = asyncio.current_task()
    cancelled_before = task.cancelling() if task else 0
    try:
        async with connection.cursor(timeout=(timeout_seconds or STATEMENT_TIMEOUT_SECONDS) + 1) as opened:
            yield opened
    except asyncio.CancelledError:
        if task is not None and task.cancelling() > cancelled_before:
            raise
        raise StatementTimeout("The database stopped a statement.") from None
    except (TimeoutError, psycopg2.extensions.QueryCanceledError) as error:
        raise StatementTimeout("The database did not answer in time.") from error
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise DatabaseUnavailable("The connection to the database was lost.") from error


class Database:
    """A pool of at most four connections, opened as they are needed: a service starts and lives without Postgres.

    Every connection has a statement time-out of 5 s. A statement that finds its pooled connection dead is tried once
    more on a fresh one, and a cancelled one may have run: statements must bear being run twice.
    """

    def __init__(self, url: PostgresUrl, service: str) -> None:
        self._url = url
        self._service = service
        self._pool: aiopg.Pool | None = None
        self._prepared: WeakKeyDictionary[aiopg.Connection, set[str]] = WeakKeyDictionary()
        """What each connection has prepared."""

    async def open(self) -> None:
        """Prepare the pool; nothing is connected yet."""
        self._pool = await aiopg.create_pool(minsize=0, maxsize=POOL_LIMIT, **_arguments(self._url, self._service))

    async def close(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            self._pool.terminate()
            await self._pool.wait_closed()

    async def connect(self) -> aiopg.Connection:
        """A connection of its own to the same database; the caller closes it. Raises DatabaseUnavailable."""
        return await connect(self._url, self._service)

    async def fetch_all(self, sql: str, parameters: Parameters = None) -> list[Row]:
        """Run a statement and return its rows. Raises DatabaseUnavailable, StatementTimeout, psycopg2.Error."""
        result: list[Row] = await self._run(sql, parameters, "rows")
        return result

    async def fetch_one(self, sql: str, parameters: Parameters = None) -> Row | None:
        """Run a statement and return its first row, None if there is none. Raises as fetch_all."""
        rows = await self.fetch_all(sql, parameters)
        return rows[0] if rows else None

    async def execute(self, sql: str, parameters: Parameters = None) -> int:
        """Run a statement and return how many rows it touched. Raises as fetch_all."""
        count: int = await self._run(sql, parameters, "count")
        return count

    async def fetch_one_prepared(self, execute: str, prepare: str, parameters: Parameters = None) -> Row | None:
        """As fetch_one, for a statement that is run so often that planning it each time is worth avoiding.

        `execute` is an EXECUTE of what `prepare` prepares, which is done once on each connection.
        """
        rows: list[Row] = await self._run(execute, parameters, "rows", prepare)
        return rows[0] if rows else None

    async def is_well(self) -> bool:
        """True when Postgres answers; raises when it does not."""
        return await self.fetch_one("select 1") is not None

    async def _run(
        self, sql: str, parameters: Parameters, wanted: Literal["rows", "count"], prepare: str | None = None
    ) -> Any:
        try:
            return await self._run_once(sql, parameters, wanted, prepare)
        except DatabaseUnavailable:
            # A pooled connection died while idle (a restart of Postgres): aiopg has no pre-ping.
            return await self._run_once(sql, parameters, wanted, prepare)

    async def _run_once(
        self, sql: str, parameters: Parameters, wanted: Literal["rows", "count"], prepare: str | None
    ) -> Any:
        if self._pool is None:
            raise DatabaseUnavailable("The database is not open.")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                connection = await self._pool.acquire()
        except (psycopg2.Error, OSError, TimeoutError) as error:
            raise DatabaseUnavailable("The database cannot be reached.") from error
        try:
            async with cursor(connection) as opened:
                try:
                    if prepare is not None and prepare not in self._prepared.setdefault(connection, set()):
                        # Noted first: who is cancelled here is not to prepare it twice.
                        self._prepared[connection].add(prepare)
                        await opened.execute(prepare)
                    await opened.execute(sql, parameters)
                except _NOT_PREPARED:
                    if prepare is None:
                        raise
                    await opened.execute("deallocate all")
                    await opened.execute(prepare)
                    await opened.execute(sql, parameters)
                if wanted == "count":
                    return opened.rowcount
                return await opened.fetchall()
        finally:
            # Not awaited: aiopg's release returns a future that is already done.
            self._pool.release(connection)


DATABASE = web.AppKey("database", Database)


def add_database(app: web.Application, url: PostgresUrl, service: str, *, essential: bool = False) -> None:
    """Give the application `app[DATABASE]` while it runs, and readiness the check `database`."""
    database = Database(url, service)
    app[DATABASE] = database
    app[CHECKS]["database"] = Check(database.is_well, essential)

    async def context(_app: web.Application) -> AsyncIterator[None]:
        await database.open()
        yield
        await database.close()

    app.cleanup_ctx.append(context)

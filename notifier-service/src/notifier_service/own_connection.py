"""A connection to Postgres apart from the pool: opened when it is first needed, and again when it was lost."""

import asyncio
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple
from zlib import crc32

import aiopg
import psycopg2
import psycopg2.errors

from service_kit.database import Database, DatabaseUnavailable, Parameters, Row, cursor

_PARAMETER = re.compile(r"%\((\w+)\)s")
Statement = tuple[str, Parameters]


class OwnConnection:
    """Runs one statement at a time. The queue's loops share no pool: one that is stuck must not hold up the others."""

    def __init__(
        self,
        database: Database,
        *begin: str,
        timeout_seconds: float | None = None,
        on_connect: Callable[[], None] = lambda: None,
    ) -> None:
        """`begin` are statements that each new connection begins with; `timeout_seconds` replaces the 5 s."""
        self._database = database
        self._begin = begin
        self._timeout_seconds = timeout_seconds
        self._on_connect = on_connect
        self._connection: aiopg.Connection | None = None
        self._prepared: set[str] = set()
        """What this connection can execute."""
        self._turn = asyncio.Lock()

    async def rows(self, sql: str, parameters: Parameters = None, *before: Statement) -> list[Row]:
        """Run a statement, those `before` it in the same transaction, and return its rows.

        A connection that died while it was idle is replaced, and the statement tried once more: it must bear being
        run twice. Cancelled or failed, the connection is closed, and whether the statement took effect is unknown.
        Raises DatabaseUnavailable, StatementTimeout, psycopg2.Error.
        """
        async with self._turn:
            return await self._run_again_if_dead([*before, (sql, parameters)])

    async def prepared_rows(self, sql: str, parameters: dict[str, object] | None = None) -> list[Row]:
        """As `rows`, for what is run so often that parsing and planning it each time would be most of it.

        Each connection plans it once, whatever its parameters will be.
        """
        statement = _preparable(sql)
        async with self._turn:
            try:
                return await self._run_again_if_dead([(statement.execute, parameters)], statement)
            except psycopg2.errors.FeatureNotSupported:
                # A migration has changed what it returns. The connection is closed: a new one plans anew.
                return await self._run([(statement.execute, parameters)], statement)

    async def _run_again_if_dead(self, statements: list[Statement], prepared: "_Preparable | None" = None) -> list[Row]:
        was_open = self._connection is not None and not self._connection.closed
        try:
            return await self._run(statements, prepared)
        except DatabaseUnavailable:
            if not was_open:
                raise
            return await self._run(statements, prepared)

    async def _run(self, statements: list[Statement], prepared: "_Preparable | None" = None) -> list[Row]:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = await self._database.connect()
                self._prepared.clear()
                self._on_connect()
                for statement in self._begin:
                    async with cursor(self._connection) as opened:
                        await opened.execute(statement)
            if prepared is not None and prepared.execute not in self._prepared:
                statements = [(prepared.prepare, None), *statements]
                self._prepared.add(prepared.execute)  # if it fails, the connection goes
            async with cursor(self._connection, self._timeout_seconds) as opened:
                if len(statements) == 1:
                    await opened.execute(*statements[0])
                else:
                    # Sent as one, several are one transaction.
                    await opened.execute(b";".join(opened.mogrify(*statement) for statement in statements).decode())
                # Nothing to wait for: aiopg has read all of the answer.
                return list(await opened.fetchall()) if opened.description else []
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it; the next statement opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Preparable(NamedTuple):
    prepare: str
    execute: str


@cache
def _preparable(sql: str) -> _Preparable:
    """A statement with named parameters as PREPARE and EXECUTE, under a name of its own."""
    names = list(dict.fromkeys(_PARAMETER.findall(sql)))
    numbered = _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", sql)
    name = f"prepared_{crc32(sql.encode()):08x}"
    given = f" ({', '.join(f'%({one})s' for one in names)})" if names else ""
    return _Preparable(f"prepare {name} as {numbered}", f"execute {name}{given}")


def array_text(numbers: Iterable[int | None]) -> str:
    """An array of numbers as Postgres writes it, to be cast there.

    A list would become ARRAY[…], whose elements the driver, the parser and the planner take one by one: of a batch of
    500 that is most of what client and server do with it.
    """
    return "{" + ",".join(["null" if number is None else str(number) for number in numbers]) + "}"

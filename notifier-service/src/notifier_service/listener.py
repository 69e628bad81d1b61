"""LISTEN: the hint that something was enqueued. Only a hint: what it misses, the next poll finds."""

import asyncio
from collections.abc import Callable

import aiopg
import psycopg2
import structlog

from notifier_service.queue import WAKE_UP_CHANNEL
from notifier_service.repeating import Repeating
from service_kit.database import Database, DatabaseUnavailable, StatementTimeout, cursor

PROBE_INTERVAL_SECONDS = 10.0
PROBE_TIMEOUT_SECONDS = 3.0
log = structlog.get_logger()


class Listener:
    """Holds one connection of its own and calls `wake` for each notification."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake
        self._connection: aiopg.Connection | None = None
        self.run = Repeating("listen", self._connect, self._pass_on).run

    async def _connect(self) -> None:
        """Raises DatabaseUnavailable, StatementTimeout."""
        connection = await self._database.connect()
        try:
            async with cursor(connection) as opened:
                await opened.execute(f"listen {WAKE_UP_CHANNEL}")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        log.info("listener.connected")
        # Whatever was enqueued while nobody listened.
        self._wake()

    async def _pass_on(self) -> None:
        """Wake for each notification until the connection is lost. Raises DatabaseUnavailable."""
        connection = self._connection
        assert connection is not None
        probe = asyncio.create_task(_probe(connection), name="listen.probe")
        try:
            while True:
                # Never under a time-out: aiopg loses notifications that arrive as it expires.
                await connection.notifies.get()
                self._wake()
        except psycopg2.Error as error:
            raise DatabaseUnavailable("The listening connection was lost.") from error
        finally:
            probe.cancel()
            await asyncio.gather(probe, return_exceptions=True)
            connection.close()


async def _probe(connection: aiopg.Connection) -> None:
    """Close the connection when its other end no longer answers: a half-open one would listen for ever."""
    try:
        while True:
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS), cursor(connection) as opened:
                await opened.execute("select 1")
    except (TimeoutError, DatabaseUnavailable, StatementTimeout, psycopg2.Error):
        connection.close()

"""Maintenance: vacuums what the queue rewrites, makes and drops partitions, forgets what is past its time."""

import asyncio
import time

import structlog

from notifier_service.own_connection import OwnConnection
from notifier_service.repeating import Repeating
from service_kit.queries import read_queries

INTERVAL_SECONDS = 5.0
DEAD_ROWS_LIMIT = 5000
"""Autovacuum looks once a minute: by then a busy queue has left hundreds of thousands."""
HOUSEKEEPING_INTERVAL_SECONDS = 600.0
RETENTION_DAYS = 14
"""How long messages and records are kept, and with them deduplication keys."""
FORGET_LIMIT = 1000
FORGET_BATCHES = 20
STATEMENT_SECONDS = 60.0
"""A vacuum takes longer than other statements may."""
BEGIN = (f"set statement_timeout = '{STATEMENT_SECONDS:.0f}s'", "set lock_timeout = '1s'")
"""What its connection begins with. To make or drop a partition it waits for others, and all wait for it: not long."""

QUERIES = read_queries(__file__)
log = structlog.get_logger()


class Maintenance:
    """Every replica does it; two at once get in each other's way no more than one would."""

    def __init__(self, connection: OwnConnection) -> None:
        self._connection = connection
        self._keep_house_at = 0.0
        self._repeating = Repeating("maintenance", self.care, self._wait)
        self.run = self._repeating.run

    async def care(self) -> None:
        """Vacuum where it is worth it; and, when it is time again, keep house.

        Raises DatabaseUnavailable, StatementTimeout.
        """
        for table, dead_rows in await self._connection.rows(QUERIES["dead_rows"], {"limit": DEAD_ROWS_LIMIT}):
            # Not cut short at its end: for that it would need the table for itself.
            await self._connection.rows(f"vacuum (skip_locked, index_cleanup on, truncate off) {table}")
            log.debug("table.vacuumed", table=table, dead_rows=dead_rows)
        if time.monotonic() >= self._keep_house_at:
            await self.keep_house()
            self._keep_house_at = time.monotonic() + HOUSEKEEPING_INTERVAL_SECONDS

    async def keep_house(self) -> None:
        """Partitions ahead of time, and nothing kept for longer than it should be."""
        await self._connection.rows(QUERIES["make_partitions"])
        for (partition,) in await self._connection.rows(QUERIES["old_partitions"], {"days": RETENTION_DAYS}):
            await self._connection.rows(f"drop table if exists {partition}")
            log.info("partition.dropped", partition=partition)
        for name in ("forget_messages", "forget_told", "forget_dead", "forget_homeless"):
            for _ in range(FORGET_BATCHES):
                rows = await self._connection.rows(QUERIES[name], {"days": RETENTION_DAYS, "limit": FORGET_LIMIT})
                if len(rows) < FORGET_LIMIT:
                    break

    async def _wait(self) -> None:
        await asyncio.sleep(INTERVAL_SECONDS)

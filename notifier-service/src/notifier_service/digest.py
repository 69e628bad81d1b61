"""Digests: enqueues what trends for whoever's hour has come."""

import asyncio

import structlog

from notifier_service.repeating import Repeating
from service_kit.database import Database
from service_kit.queries import read_queries

BATCH = 200
ROWS_OF_A_PAGE = 10
INTERVAL_SECONDS = 5.0
log = structlog.get_logger()

QUERIES = read_queries(__file__)


class Digests:
    """Every replica does it: the statement skips what another one has in hand."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.run = Repeating("digests", self.send_due, self._wait).run

    async def send_due(self) -> None:
        """Enqueue every digest that is due. Raises DatabaseUnavailable, StatementTimeout."""
        due = BATCH
        while due == BATCH:
            row = await self._database.fetch_one(QUERIES["send"], {"limit": BATCH, "rows": ROWS_OF_A_PAGE})
            assert row is not None
            due, sent = row[0], row[1]
            if due:
                log.info("digests.sent", due=due, sent=sent)

    async def _wait(self) -> None:
        await asyncio.sleep(INTERVAL_SECONDS)

"""Rescue: takes deliveries from workers that died, and lets go what endpoints at rest held up."""

import asyncio
import time
from collections.abc import Callable

import structlog

from notifier_service.circuit import FAILURES_BEFORE_REST
from notifier_service.heartbeat import LOCK_NAMESPACE
from notifier_service.metrics import QueueMetrics
from notifier_service.own_connection import OwnConnection
from notifier_service.repeating import Repeating
from notifier_service.retry import MOST_FAILURES
from service_kit.queries import read_queries

INTERVAL_SECONDS = 1.0
EXPIRE_INTERVAL_SECONDS = 10.0
BATCH_LIMIT = 5000
"""Rows in one statement: some 100 ms."""
RELEASES = 5
"""At most so many releases in one look: dead workers must not wait for long."""
LOST = "the worker vanished before it was finished"

QUERIES = read_queries(__file__)
log = structlog.get_logger()


class Rescue:
    """Every replica does it: the statements skip what another one has in hand."""

    def __init__(self, connection: OwnConnection, metrics: QueueMetrics, wake: Callable[[], None]) -> None:
        """`wake` is called when deliveries became ready."""
        self._connection = connection
        self._metrics = metrics
        self._wake = wake
        self._expire_at = 0.0
        self._repeating = Repeating("rescue", self.look_after, self._wait)
        self.run = self._repeating.run
        self.is_well = self._repeating.is_well

    async def look_after(self) -> None:
        """One look at workers and resting endpoints. Raises DatabaseUnavailable, StatementTimeout."""
        await self._connection.rows(QUERIES["bury"].format(namespace=LOCK_NAMESPACE))
        freed = await self._take("rescue")
        if time.monotonic() >= self._expire_at:
            freed += await self._take("expire")
            await self._connection.rows(QUERIES["forget_workers"])
            self._expire_at = time.monotonic() + EXPIRE_INTERVAL_SECONDS
        if await self._release() + freed:
            self._wake()

    async def _release(self) -> int:
        """Until each endpoint whose rest is over has had its turn, or it takes long; how many were let go."""
        total = 0
        for _ in range(RELEASES):
            [(released,)] = await self._connection.rows(
                QUERIES["release"].format(limit=BATCH_LIMIT), {"failures_before_rest": FAILURES_BEFORE_REST}
            )
            total += released
            if released < BATCH_LIMIT:
                break
        return total

    async def _take(self, how: str) -> int:
        """Until nothing is left; how many it was."""
        total = 0
        while True:
            rows = await self._connection.rows(
                QUERIES[how].format(limit=BATCH_LIMIT, endings=QUERIES["endings"]),
                {"most_failures": MOST_FAILURES, "error": LOST},
            )
            for outcome, count in rows:
                log.warning("deliveries.rescued", outcome=outcome, count=count, why=how)
                self._metrics.rescued(outcome, count)
            taken = sum(int(count) for _, count in rows)
            total += taken
            if taken < BATCH_LIMIT:
                return total

    async def _wait(self) -> None:
        await asyncio.sleep(INTERVAL_SECONDS)

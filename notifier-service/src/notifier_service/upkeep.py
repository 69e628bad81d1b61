"""Upkeep of the queue: takes deliveries from workers that vanished, and forgets what is past its time."""

import asyncio
import time
from collections.abc import Callable

import structlog

from notifier_service.queue import Queue
from notifier_service.repeating import Repeating

RESCUE_INTERVAL_SECONDS = 2.0
FORGET_INTERVAL_SECONDS = 600.0
FORGET_BATCHES = 20
"""Batches in one go: 20,000 rows in ten minutes keep up with far more than operators can read."""
log = structlog.get_logger()


class Upkeep:
    """Every replica does it: the statements skip what another one has in hand."""

    def __init__(self, queue: Queue, wake: Callable[[], None]) -> None:
        """`wake` is called when deliveries became ready."""
        self._queue = queue
        self._wake = wake
        self._forget_at = 0.0
        self._repeating = Repeating("upkeep", self.look_after, self._wait)
        self.run = self._repeating.run
        self.is_well = self._repeating.is_well

    async def look_after(self) -> None:
        """Rescue; and, when it is time again, forget. Raises DatabaseUnavailable, StatementTimeout."""
        rescued = await self._queue.rescue()
        for delivery_id, outcome in rescued:
            log.warning(f"delivery.{outcome}", delivery_id=delivery_id)
        if rescued:
            self._wake()
        if time.monotonic() >= self._forget_at:
            for _ in range(FORGET_BATCHES):
                if await self._queue.forget() == 0:
                    break
            self._forget_at = time.monotonic() + FORGET_INTERVAL_SECONDS

    async def _wait(self) -> None:
        await asyncio.sleep(RESCUE_INTERVAL_SECONDS)

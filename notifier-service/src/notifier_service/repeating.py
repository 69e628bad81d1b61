"""Repeats a step for ever: waits longer while Postgres is away, says so once, and knows whether it still succeeds."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from service_kit.database import DatabaseUnavailable, StatementTimeout

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
SILENCE_LIMIT_SECONDS = 15.0
log = structlog.get_logger()

Step = Callable[[], Awaitable[None]]


class Repeating:
    """`run` is a background task: a step, then a wait, and again."""

    def __init__(self, name: str, step: Step, wait: Step) -> None:
        self._name = name
        self._step = step
        self._wait = wait
        self._succeeded_at: float | None = None

    async def is_well(self) -> bool:
        """True when a step succeeded within the last 15 s."""
        return self._succeeded_at is not None and time.monotonic() - self._succeeded_at < SILENCE_LIMIT_SECONDS

    async def run(self) -> None:
        """Repeat for ever. Raises what step and wait raise, except DatabaseUnavailable and StatementTimeout."""
        failures = 0
        while True:
            try:
                await self._step()
                if failures:
                    log.info("database.returned", task=self._name, failures=failures)
                failures = 0
                self._succeeded_at = time.monotonic()
                await self._wait()
            except (DatabaseUnavailable, StatementTimeout) as error:
                if failures == 0:
                    log.warning("database.lost", task=self._name, error=error.detail)
                await asyncio.sleep(min(FIRST_PAUSE_SECONDS * 2 ** min(failures, 10), LONGEST_PAUSE_SECONDS))
                failures += 1

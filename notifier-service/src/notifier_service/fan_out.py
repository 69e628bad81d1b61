"""Fan-out: gives each message's subscribers their deliveries, in chunks that a crash neither repeats nor skips."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from notifier_service.metrics import QueueMetrics
from notifier_service.own_connection import OwnConnection
from notifier_service.repeating import Repeating
from service_kit.queries import read_queries

WIDE = (500, 10)
"""Messages and subscriptions of each in one statement: for many messages with few subscribers."""
DEEP = (1, 5000)
"""For one message with many: some 100 ms, far below the statement time-out."""
POLL_INTERVAL_SECONDS = 1.0
BEGIN = "set synchronous_commit = off"
"""What its connection begins with. A fan-out that Postgres forgets in a crash is done again: its message waits again.
One that a claim took deliveries of is not forgotten: the claim's commit writes all that came before it."""

QUERIES = read_queries(__file__)


class FanOut:
    """Any number of replicas do it at once: each statement skips the messages that another one has in hand."""

    def __init__(self, connection: OwnConnection, metrics: QueueMetrics, made: Callable[[], None]) -> None:
        """`made` is called when there are new deliveries."""
        self._connection = connection
        self._metrics = metrics
        self._made = made
        self._wake = asyncio.Event()
        self._repeating = Repeating("fan_out", self._turn, self._wait)
        self.run = self._repeating.run
        self.is_well = self._repeating.is_well

    def wake(self) -> None:
        """Look for messages now instead of at the next poll."""
        self._wake.set()

    async def fan_out(self) -> int:
        """Give every waiting message its deliveries; return how many. Raises DatabaseUnavailable, StatementTimeout."""
        total = 0
        while True:
            messages, unfinished, made = await self._chunk(WIDE)
            total += made
            if unfinished:
                total += (await self._chunk(DEEP))[2]
            elif messages < WIDE[0]:
                return total

    async def _chunk(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """How many messages it took, how many of them are not finished, and how many deliveries it made."""
        [(messages, unfinished, made)] = await self._connection.prepared_rows(
            QUERIES["fan_out"].format(messages=size[0], subscriptions=size[1])
        )
        if made:
            self._metrics.made.inc(made)
            self._made()
        return messages, unfinished, made

    async def _turn(self) -> None:
        self._wake.clear()
        await self.fan_out()

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_INTERVAL_SECONDS):
                await self._wake.wait()

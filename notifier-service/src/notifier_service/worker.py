"""Delivering: claim what is due on one channel, send it, settle it; finish what is under way at the end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from notifier_service.channels import Channel
from notifier_service.models import Answer, Claimed, Unreachable
from notifier_service.queue import Queue
from notifier_service.repeating import Repeating
from notifier_service.retry import Step, next_step
from service_kit.database import DatabaseUnavailable, StatementTimeout
from service_kit.tasks import running

CONCURRENCY = 4
"""Sends at once on one channel. No more are claimed than can start at once."""
POLL_INTERVAL_SECONDS = 1.0
SETTLE_PAUSE_SECONDS = 0.5
GRACE_SECONDS = 8.0
"""How long sends under way may take at the end: above a send's deadline, below the 10 s that Docker leaves."""
log = structlog.get_logger()


class Worker:
    """Delivers one channel. It may die at any point: its leases run out and its rows are ready again."""

    def __init__(self, queue: Queue, channel: Channel, report: Callable[[BaseException], None]) -> None:
        """`report` takes exceptions that nobody expected."""
        self._queue = queue
        self._channel = channel
        self._report = report
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._claiming = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()
        self._silent_until = 0.0
        self._turns = Repeating(f"deliver.{channel.name}", self._claim, self._wait)
        self.is_well = self._turns.is_well

    def wake(self) -> None:
        """Look for due deliveries now instead of at the next poll."""
        self._wake.set()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Deliver while the context is open; at its end claim no more, finish what is under way, hand back the rest."""
        async with running(f"deliver.{self._channel.name}", self._turns.run):
            try:
                yield
            finally:
                await self._drain()

    async def _claim(self) -> None:
        """Claim as many as there are free hands, and start sending them."""
        async with self._claiming:
            # Before the claim: a wake-up that comes while it runs must not be lost.
            self._wake.clear()
            free = CONCURRENCY - len(self._under_way)
            if self._is_stopping or free == 0 or time.monotonic() < self._silent_until:
                return
            while await self._queue.fan_out() is not None:
                pass
            claimed = await self._queue.claim(self._channel.name, free)
            if self._is_stopping:
                return  # the drain hands them back
            for delivery in claimed:
                task = asyncio.create_task(self._deliver(delivery), name=f"delivery.{delivery.id}")
                self._under_way.add(task)
                task.add_done_callback(self._free_hand)

    def _free_hand(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self.wake()

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_INTERVAL_SECONDS):
                await self._wake.wait()

    async def _deliver(self, delivery: Claimed) -> None:
        """Send once and settle what came of it."""
        started = time.perf_counter()
        try:
            ending = await self._send(delivery)
            duration_ms = round((time.perf_counter() - started) * 1000)
            step = next_step(ending, delivery.attempt)
            is_ours = await self._settle(delivery, step, duration_ms)
        except Exception as error:  # the lease will run out, and the delivery start again
            log.exception("delivery.crashed", delivery_id=delivery.id)
            self._report(error)
            return
        write = log.info if is_ours and step.outcome in {"delivered", "skipped"} else log.warning
        write(
            f"delivery.{step.outcome}" if is_ours else "delivery.fenced",
            channel=self._channel.name,
            delivery_id=delivery.id,
            message_id=delivery.message_id,
            attempt=delivery.attempt,
            duration_ms=duration_ms,
            error=step.error,
            retry_in_seconds=step.retry_in_seconds,
        )

    async def _send(self, delivery: Claimed) -> Answer | Unreachable:
        try:
            return await self._channel.send(delivery)
        except Unreachable as unreachable:
            if unreachable.retry_after_seconds is not None:
                # The receiver limits all of the channel: other rows would only use up their tries.
                self._silent_until = time.monotonic() + unreachable.retry_after_seconds
            return unreachable
        except Exception as error:
            log.exception("send.crashed", channel=self._channel.name, delivery_id=delivery.id)
            self._report(error)
            return Unreachable(f"unexpected {type(error).__name__}")

    async def _settle(self, delivery: Claimed, step: Step, duration_ms: int) -> bool:
        """As `Queue.settle`, for as long as it takes: what was sent and is not settled would be sent again."""
        while True:
            try:
                return await self._queue.settle(delivery, step, duration_ms)
            except (DatabaseUnavailable, StatementTimeout):
                await asyncio.sleep(SETTLE_PAUSE_SECONDS)

    async def _drain(self) -> None:
        deadline = time.monotonic() + GRACE_SECONDS
        self._is_stopping = True
        with suppress(TimeoutError):
            # A claim under way is let end: cancelled, it may yet take effect and leave rows to their leases.
            async with asyncio.timeout(GRACE_SECONDS), self._claiming:
                pass
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=max(0.0, deadline - time.monotonic()))
        cut_short = list(self._under_way)
        for task in cut_short:
            task.cancel()
        await asyncio.gather(*cut_short, return_exceptions=True)
        try:
            count = await self._queue.hand_back(self._channel.name)
            log.info("worker.stopped", channel=self._channel.name, cut_short=len(cut_short), handed_back=count)
        except (DatabaseUnavailable, StatementTimeout) as error:
            log.warning("worker.stopped", channel=self._channel.name, cut_short=len(cut_short), error=error.detail)

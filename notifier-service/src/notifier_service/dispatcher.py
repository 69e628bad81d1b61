"""Dispatching: claims what is due on one channel, sends it, and says how that ended."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

import structlog

from notifier_service.channels import Channel
from notifier_service.completion import Completion
from notifier_service.heartbeat import Heartbeat
from notifier_service.metrics import QueueMetrics
from notifier_service.models import Answer, Claimed, Unreachable
from notifier_service.queue import Queue
from notifier_service.repeating import Repeating
from notifier_service.retry import Step, next_step
from notifier_service.turns import Turns
from service_kit.database import DatabaseUnavailable, StatementTimeout
from service_kit.tasks import running

CLAIM_LIMIT = 1000
POLL_INTERVAL_SECONDS = 1.0
SHARES = 4
"""One endpoint gets at most this part of the hands: one that hangs would have them all within a moment."""
LEAST_SHARE = 4
"""Hands that one endpoint may have in any case, where a channel has few."""
AHEAD_SECONDS = 0.1
"""For how long the deliveries last that are claimed before there is a free hand: more are kept from other replicas."""
OVERTIME_SECONDS = 0.5
"""For a channel to say itself that its time is up."""
WATCH_INTERVAL_SECONDS = 0.25
GRACE_SECONDS = 8.0
"""How long sends under way may take at the end: below the 10 s that Docker leaves."""
log = structlog.get_logger()


class Dispatcher:
    """Delivers one channel. It may die at any point: its rows are taken from it and start again."""

    def __init__(
        self,
        channel: Channel,
        queue: Queue,
        completion: Completion,
        heartbeat: Heartbeat,
        metrics: QueueMetrics,
        report: Callable[[BaseException], None],
    ) -> None:
        """`report` takes exceptions that nobody expected."""
        self.name = channel.name
        self._channel = channel
        self._queue = queue
        self._completion = completion
        self._heartbeat = heartbeat
        self._metrics = metrics
        self._report = report
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._claiming = asyncio.Lock()
        self._turns = Turns(max(LEAST_SHARE, channel.concurrency // SHARES))
        self._excess: list[Claimed] = []
        """Taken from its turn, and not yet put off."""
        self._hands: dict[asyncio.Task[None], _Hand] = {}
        self._spare_hand = False
        self._pace = _Pace()
        self._is_dry = True
        self._worker: int | None = None
        completion.written = self._made_room
        self._repeating = Repeating(f"deliver.{channel.name}", self._claim, self._wait)
        self.is_well = self._repeating.is_well

    def wake(self) -> None:
        """Look for due deliveries now instead of at the next poll."""
        self._wake.set()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Deliver while the context is open, or until `drain`."""
        name = self._channel.name
        async with (
            running(f"complete.{name}", self._completion.run),
            running(f"watch.{name}", self._watch),
            running(f"deliver.{name}", self._repeating.run),
        ):
            yield

    async def _claim(self) -> None:
        """Claim as much as will soon find free hands, and set hands to work."""
        async with self._claiming:
            # Before the claim: a wake-up that comes while it runs must not be lost.
            self._wake.clear()
            if self._is_stopping or not self._heartbeat.may_send():
                self._is_dry = True
                return
            if self._worker != self._heartbeat.worker:
                # Taken for dead meanwhile: what waited here is others' now.
                self._forget([*self._turns.clear(), *self._excess])
                self._excess.clear()
                self._worker = self._heartbeat.worker
            self._set_to_work()
            await self._put_off_excess()
            room = self._room()
            if room <= 0:
                self._is_dry = False
                return
            limit = min(room, CLAIM_LIMIT)
            batch = await self._queue.claim(self._worker, limit)
            self._is_dry = batch.moved < limit
            self._metrics.claimed(self._channel.name, batch)
            for claimed, step in batch.ended:
                self._completion.held[claimed.id] = claimed.claimed_at
                self._completion.add(claimed, step, 0)
            for claimed in batch.ready:
                self._completion.held[claimed.id] = claimed.claimed_at
            self._turns.extend(batch.ready)
            if not self._is_stopping:  # else the drain hands them back
                self._set_to_work()

    async def _put_off_excess(self) -> None:
        """What waits for a slow endpoint is held for a moment: it would keep what is for others from being claimed."""
        self._excess += self._turns.take_excess(time.monotonic())
        if self._excess:
            await self._queue.put_off(self._excess)
            self._forget(self._excess)
            self._excess.clear()

    def _room(self) -> int:
        wanted = max(2 * self._channel.concurrency, self._pace.per_second * AHEAD_SECONDS)
        return int(min(wanted, 3 * CLAIM_LIMIT)) - len(self._completion.held)

    async def _wait(self) -> None:
        """Until there may be something to claim: there was more, a hand is free, a row is due."""
        if not self._is_dry and self._room() > 0:
            return
        seconds = POLL_INTERVAL_SECONDS
        if self._is_dry and not self._wake.is_set() and self._may_send():
            until_next = await self._queue.seconds_to_next()
            if until_next is not None:
                seconds = min(seconds, max(until_next, 0.0) + 0.001)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _made_room(self) -> None:
        if not self._is_dry:
            self._wake.set()

    def _may_send(self) -> bool:
        return not self._is_stopping and self._heartbeat.may_send() and self._worker == self._heartbeat.worker

    def _forget(self, deliveries: Iterable[Claimed]) -> None:
        for claimed in deliveries:
            self._completion.forget(claimed)

    def _set_to_work(self) -> None:
        """One more hand, if there is work for it; it sets the next to work before it begins its own."""
        if self._turns.has_ready and not self._spare_hand and len(self._hands) < self._channel.concurrency:
            self._spare_hand = True
            hand = _Hand()
            task = asyncio.create_task(self._work(hand), name=f"send.{self._channel.name}")
            self._hands[task] = hand
            task.add_done_callback(self._hands.pop)

    async def _work(self, hand: "_Hand") -> None:
        """Send what waits until nothing does."""
        self._spare_hand = False
        while self._may_send() and (claimed := self._turns.take()) is not None:
            self._set_to_work()
            started = time.monotonic()
            step = await self._try(claimed, hand, started)
            duration_ms = round((time.monotonic() - started) * 1000)
            self._completion.add(claimed, step, duration_ms)
            self._turns.note_end(claimed)
            self._pace.count()
            if step.outcome != "delivered":
                self._tell(claimed, step, duration_ms)
        # Not only when endings are written: a quick channel's room grows with its pace.
        self._made_room()

    async def _try(self, claimed: Claimed, hand: "_Hand", started: float) -> Step:
        """Send once. Whatever happens becomes a step, except this task's own cancellation."""
        failures = claimed.failures + 1
        age = claimed.age_seconds + started - claimed.claimed_at
        ending: Answer | Unreachable
        try:
            hand.until = started + self._channel.timeout_seconds + OVERTIME_SECONDS
            if claimed.is_suspect and not await self._queue.begin(claimed):
                raise Unreachable("another worker has it", counts=False, blames_endpoint=False)
            ending = await self._channel.send(claimed)
        except Unreachable as unreachable:
            ending = unreachable
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not hand.is_late or task is None or task.uncancel() > 0:
                raise
            ending = Unreachable(f"no answer within {self._channel.timeout_seconds:g} s")
        except TimeoutError:
            ending = Unreachable("no answer in time")
        except (DatabaseUnavailable, StatementTimeout) as error:
            # What a channel keeps there is away, and soon back: neither the message's fault nor news.
            ending = Unreachable(error.detail, counts=False, blames_endpoint=False)
        except Exception as error:
            log.exception("send.crashed", channel=self._channel.name, delivery_id=claimed.id)
            self._report(error)
            # A fault of ours, not of the endpoint.
            ending = Unreachable(f"unexpected {type(error).__name__}", blames_endpoint=False)
        finally:
            hand.until = float("inf")
            hand.is_late = False
        return next_step(ending, failures, age)

    async def _watch(self) -> None:
        """Cut short sends whose time is up. One look for all: a timer for each is what a quick send would cost most."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_SECONDS)
            now = time.monotonic()
            for task, hand in self._hands.items():
                if now > hand.until and not hand.is_late:
                    hand.is_late = True
                    task.cancel()

    def _tell(self, claimed: Claimed, step: Step, duration_ms: int) -> None:
        log.warning(
            f"delivery.{step.outcome}",
            channel=self._channel.name,
            delivery_id=claimed.id,
            message_id=claimed.message_id,
            endpoint_id=claimed.endpoint.id,
            attempt=claimed.attempt,
            duration_ms=duration_ms,
            error=step.error,
            retry_in_seconds=step.retry_in_seconds,
        )

    async def drain(self) -> None:
        """Claim no more, hand back what nobody has begun to send, finish what is under way: 8 s at most."""
        deadline = time.monotonic() + GRACE_SECONDS
        self._is_stopping = True
        with suppress(TimeoutError):
            # A claim under way is let end: cancelled, it may yet take effect and leave rows to their leases.
            async with asyncio.timeout(GRACE_SECONDS), self._claiming:
                pass
        handed_back = await self._hand_back()
        if self._hands:
            await asyncio.wait(self._hands, timeout=max(0.0, deadline - time.monotonic()))
        cut_short = list(self._hands)
        for hand in cut_short:
            hand.cancel()
        await asyncio.gather(*cut_short, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.5, deadline - time.monotonic())):
                await self._completion.until_written()
        log.info(
            "dispatcher.stopped",
            channel=self._channel.name,
            handed_back=handed_back,
            cut_short=len(cut_short),
            unwritten=len(self._completion.held) - len(cut_short),
        )

    async def _hand_back(self) -> int:
        """What is claimed and nobody has begun to send, at once; what that misses, the heartbeat's end hands back."""
        unsent = [*self._turns.clear(), *self._excess]
        self._excess.clear()
        if unsent:
            with suppress(DatabaseUnavailable, StatementTimeout):
                await self._queue.hand_back(unsent)
        self._forget(unsent)
        return len(unsent)


class _Hand:
    """One sender: until when what it sends may take, and whether it was cut short because that is past."""

    __slots__ = ("is_late", "until")

    def __init__(self) -> None:
        self.until = float("inf")
        self.is_late = False


class _Pace:
    """How many sends a second end, over the last half second or more."""

    def __init__(self) -> None:
        self.per_second = 0.0
        self._count = 0
        self._since = time.monotonic()

    def count(self) -> None:
        self._count += 1
        if self._count >= 64:
            now = time.monotonic()
            passed = max(now - self._since, 0.001)
            self.per_second = 0.5 * self.per_second + 0.5 * self._count / passed
            self._count, self._since = 0, now

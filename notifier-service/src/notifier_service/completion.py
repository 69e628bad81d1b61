"""Completion: writes how tries ended, in batches, for as long as it takes: what is not written is sent again."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import psycopg2
import structlog

from notifier_service.circuit import FAILURES_BEFORE_REST, RESTS
from notifier_service.metrics import QueueMetrics
from notifier_service.models import Claimed
from notifier_service.own_connection import OwnConnection, Statement, array_text
from notifier_service.queue import PLANNER as QUEUE_PLANNER
from notifier_service.retry import MOST_FAILURES, Step
from service_kit.alerts import storable
from service_kit.database import DatabaseUnavailable, Row, StatementTimeout
from service_kit.queries import read_queries

BATCH_LIMIT = 2000
TEXT_LIMIT_CHARACTERS = 500
PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0

PLANNER = f"{QUEUE_PLANNER}; set enable_nestloop = off"
"""A batch is joined by its hash: row by row with each other, 500 and 500 are 250,000."""

QUERIES = read_queries(__file__)
log = structlog.get_logger()

Ended = tuple[Claimed, Step, int]
"""A delivery, what is to become of it, and how long its receiver took, in milliseconds."""


class Completion:
    """One channel's endings. An idle one is written at once; what ends meanwhile is written with the next batch."""

    def __init__(
        self, connection: OwnConnection, metrics: QueueMetrics, channel: str, report: Callable[[BaseException], None]
    ) -> None:
        """`report` takes exceptions that nobody expected."""
        self._connection = connection
        self._metrics = metrics
        self._channel = channel
        self._report = report
        self._waiting: list[Ended] = []
        self._arrived = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.written: Callable[[], None] = lambda: None
        """Called when there is room for more."""
        self.held: dict[int, float] = {}
        """What this worker has of the channel, until its end is written: id → when it was claimed."""

    def add(self, claimed: Claimed, step: Step, duration_ms: int) -> None:
        """Note an ending. Never blocks: no more can wait than was claimed."""
        if not self._waiting:
            self._arrived.set()
            self._is_idle.clear()
        self._waiting.append((claimed, step, duration_ms))

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._arrived.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits, and what comes meanwhile."""
        self._arrived.clear()
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH_LIMIT], self._waiting[BATCH_LIMIT:]
            try:
                await self._write(batch)
            except BaseException:
                self._waiting = batch + self._waiting
                self._arrived.set()
                raise
        self._is_idle.set()

    async def until_written(self) -> None:
        """Wait until everything is written that was noted until now."""
        await self._is_idle.wait()

    async def _write(self, batch: Sequence[Ended]) -> None:
        """Write a batch for as long as it takes; it bears being written twice."""
        plain = [one for one in batch if _is_plain(one)]
        others = [one for one in batch if not _is_plain(one)] if len(plain) < len(batch) else []
        written = await self._deliver(plain) if plain else 0
        written += await self._settle(others) if others else 0
        for claimed, _step, _duration in batch:
            self.forget(claimed)
        self.written()
        self._metrics.completed(self._channel, batch, fenced=len(batch) - written)
        if written < len(batch):
            log.warning("deliveries.fenced", count=len(batch) - written)

    def forget(self, claimed: Claimed) -> None:
        """This worker no longer has it; unless it has claimed it anew, after it was taken for dead."""
        if self.held.get(claimed.id) == claimed.claimed_at:
            del self.held[claimed.id]

    async def _deliver(self, batch: Sequence[Ended]) -> int:
        """Write what arrived and has nothing else to tell."""
        try:
            return await self._insist(partial(self._connection.prepared_rows, QUERIES["deliver"], _arrays(batch)))
        except psycopg2.Error:
            return await self._settle(batch)

    async def _settle(self, batch: Sequence[Ended]) -> int:
        """Write endings of all kinds; one that Postgres refuses holds up none of the others."""
        try:
            return await self._insist(
                partial(self._connection.rows, QUERIES["settle"], _all_arrays(batch), *_before(batch))
            )
        except psycopg2.Error as error:
            if len(batch) > 1:
                return sum([await self._settle([one]) for one in batch])
            return await self._settle_bare(*batch[0], error)

    async def _settle_bare(self, claimed: Claimed, step: Step, _duration_ms: int, refusal: psycopg2.Error) -> int:
        """Without what Postgres refuses: a delivery that could not end would be sent again and again."""
        log.error("completion.refused", delivery_id=claimed.id, outcome=step.outcome, exc_info=refusal)
        self._report(refusal)
        bare = {
            "id": claimed.id,
            "attempt": claimed.attempt,
            "retry": step.retry_in_seconds,
            "most_failures": MOST_FAILURES,
            "reason": f"{step.outcome}, but Postgres refused to record it: {type(refusal).__name__}",
        }
        try:
            return await self._insist(partial(self._connection.rows, QUERIES["settle_bare"], bare))
        except psycopg2.Error as error:
            self._report(error)
            return 0  # nothing can be written: it is handed back with this worker's next renewal

    async def _insist(self, write: Callable[[], Awaitable[list[Row]]]) -> int:
        """Run it until it succeeds; return how many rows were still ours. Said once, for it may take long."""
        pause = PAUSE_SECONDS
        while True:
            try:
                [(count,)] = await write()
            except (DatabaseUnavailable, StatementTimeout) as error:
                if pause == PAUSE_SECONDS:
                    log.warning("completion.delayed", error=error.detail)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                return int(count)


def _is_plain(ended: Ended) -> bool:
    claimed, step, _duration = ended
    return step.outcome == "delivered" and step.provider_id is None and not claimed.endpoint_failures


def _arrays(batch: Sequence[Ended]) -> dict[str, object]:
    return {
        "ids": array_text([claimed.id for claimed, _, _ in batch]),
        "attempts": array_text([claimed.attempt for claimed, _, _ in batch]),
        "durations": array_text([duration for _, _, duration in batch]),
        "statuses": array_text([step.http_status for _, step, _ in batch]),
    }


def _all_arrays(batch: Sequence[Ended]) -> dict[str, object]:
    steps = [step for _, step, _ in batch]
    return {
        **_arrays(batch),
        "outcomes": [step.outcome for step in steps],
        "retries": [step.retry_in_seconds for step in steps],
        "counts": [int(step.counts) for step in steps],
        "provider_ids": [_storable(step.provider_id) for step in steps],
        "errors": [_storable(step.error) for step in steps],
    }


def _storable(text: str | None) -> str | None:
    return None if text is None else storable(text)[:TEXT_LIMIT_CHARACTERS]


def _before(batch: Sequence[Ended]) -> list[Statement]:
    """What takes effect with the outcomes: what the tries tell of their endpoints."""
    judged: dict[int, list[Step]] = defaultdict(list)
    for claimed, step, _duration in batch:
        if step.endpoint is not None and (step.endpoint != "well" or claimed.endpoint_failures):
            judged[claimed.endpoint.id].append(step)
    if not judged:
        return []
    columns = {
        "ids": list(judged),
        "well": [any(step.endpoint == "well" for step in steps) for steps in judged.values()],
        "failed": [sum(step.endpoint in {"failing", "limited"} for step in steps) for steps in judged.values()],
        "rests": [
            max((step.retry_in_seconds or 0.0 for step in steps if step.endpoint == "limited"), default=0.0)
            for steps in judged.values()
        ],
        "reasons": [
            next((_storable(step.error) for step in steps if step.endpoint == "gone"), None)
            for steps in judged.values()
        ],
        "circuit": RESTS,
        "failures_before_rest": FAILURES_BEFORE_REST,
    }
    return [(QUERIES["judge"], columns)]

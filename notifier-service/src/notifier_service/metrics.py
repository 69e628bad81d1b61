"""What the queue counts, in Prometheus' terms: how old and deep it is, how quick, and how tries end."""

import asyncio
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily

from notifier_service.claim_answer import Batch
from notifier_service.models import Claimed
from notifier_service.own_connection import OwnConnection
from notifier_service.repeating import Repeating
from notifier_service.retry import Step
from service_kit.queries import read_queries

INTERVAL_SECONDS = 5.0
DEPTH_LIMIT = 10_000
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 43200, 259200)
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)

QUERIES = read_queries(__file__)


class QueueMetrics:
    """Counted by the batch: at tens of thousands a second, a call for each would be what the queue does most."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(name, help_, labels, registry=registry)

        self._outcomes = counter("delivery_outcomes_total", "Tries that ended, by outcome.", "channel", "outcome")
        self._fenced = counter("delivery_fenced_total", "Endings that came too late.", "channel")
        self._rescues = counter("delivery_rescues_total", "Deliveries taken from workers that vanished.", "outcome")
        self.connects = counter("queue_connects_total", "Connections opened, reconnections included.", "name")
        self.made = counter("fan_out_deliveries_total", "Deliveries that fan-out made of messages.")
        self.ticks = counter("schedule_ticks_total", "Messages that schedules enqueued.")
        self._pick_up = _Histograms("delivery_pick_up_seconds", "From when it was due until it was claimed.", _SECONDS)
        self._end_to_end = _Histograms("delivery_end_to_end_seconds", "From when it was made until it ended.", _SECONDS)
        self._claims = _Histograms("claim_rows", "Deliveries in one claim that brought any.", _ROWS)
        self._completions = _Histograms("completion_rows", "Endings written at once.", _ROWS)
        for histograms in (self._pick_up, self._end_to_end, self._claims, self._completions):
            registry.register(histograms)
        self.depth = Gauge(
            "queue_deliveries",
            f"In the queue, counted up to {DEPTH_LIMIT}.",
            ("channel", "state"),
            registry=registry,
        )
        self.oldest = Gauge(
            "delivery_oldest_ready_seconds", "How long the longest due has waited.", ("channel",), registry=registry
        )
        self.dead_letters = Gauge("dead_letters", f"Given up and not replayed, up to {DEPTH_LIMIT}.", registry=registry)

    def claimed(self, channel: str, batch: Batch) -> None:
        """Count a claim."""
        if batch.moved:
            self._claims.observe(channel, (batch.moved,))
            self._pick_up.observe(channel, [claimed.waited_seconds for claimed in batch.ready])

    def completed(self, channel: str, batch: Sequence[tuple[Claimed, Step, int]], fenced: int) -> None:
        """Count endings that were written, `fenced` of them in vain."""
        now = time.monotonic()
        self._completions.observe(channel, (len(batch),))
        for outcome, count in Tally([step.outcome for _, step, _ in batch]).items():
            self._outcomes.labels(channel, outcome).inc(count)
        self._end_to_end.observe(
            channel,
            [
                claimed.age_seconds + now - claimed.claimed_at
                for claimed, step, _ in batch
                if step.retry_in_seconds is None
            ],
        )
        if fenced:
            self._fenced.labels(channel).inc(fenced)

    def rescued(self, outcome: str, count: int) -> None:
        """Count deliveries that were taken from a worker."""
        self._rescues.labels(outcome).inc(count)


class _Histograms:
    """A histogram for each channel that takes values by the list."""

    def __init__(self, name: str, help_: str, bounds: Sequence[float]) -> None:
        self._name, self._help, self._bounds = name, help_, bounds
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, channel: str, values: Sequence[float]) -> None:
        counts = self._counts.setdefault(channel, [0] * (len(self._bounds) + 1))
        bounds = self._bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sums[channel] = self._sums.get(channel, 0.0) + sum(values)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._help, labels=("channel",))
        for channel, counts in self._counts.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric((channel,), buckets, self._sums[channel])
        yield family


class Gauging:
    """Looks at the tables now and then, at a cost that does not grow with them."""

    def __init__(self, connection: OwnConnection, metrics: QueueMetrics, channels: Sequence[str]) -> None:
        self._connection = connection
        self._metrics = metrics
        self._channels = list(channels)
        self.run = Repeating("gauges", self.look, self._wait).run

    async def look(self) -> None:
        """Raises DatabaseUnavailable, StatementTimeout."""
        limit = {"limit": DEPTH_LIMIT}
        self._metrics.depth.clear()
        for channel, state, count in await self._connection.rows(QUERIES["depth"], limit):
            self._metrics.depth.labels(channel, state).set(count)
        for channel, seconds in await self._connection.rows(QUERIES["oldest"], {"channels": self._channels}):
            self._metrics.oldest.labels(channel).set(seconds)
        [(count,)] = await self._connection.rows(QUERIES["dead_letters"], limit)
        self._metrics.dead_letters.set(count)

    async def _wait(self) -> None:
        await asyncio.sleep(INTERVAL_SECONDS)

"""The access log and the count of requests: errors have a line each, of everything else a bounded number a second."""

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import structlog
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.exchange import Exchange
from service_kit.metrics import Metrics

LINES_A_SECOND = 50
"""Of answers below 400, and of 429, which one caller can have without end; below this rate every request has its line.
At 6 µs a line more of them would cost as much as the answers."""
log = structlog.get_logger()


class AccessLog(Collector):
    """One line for a request that is over (never its query: tokens travel there), and its place in the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._hits: Counter[tuple[str, int]] = Counter()
        self._second = 0
        self._left = 0
        self._omitted = 0
        metrics.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """What was counted of hits, for Prometheus."""
        hits = CounterMetricFamily(
            "gateway_hits",
            "Requests that the cache answered in no time; they are in no histogram.",
            labels=("route", "status"),
        )
        for (route, status), count in self._hits.items():
            hits.add_metric((route, str(status)), count)
        yield hits

    def note(self, exchange: Exchange, status: int) -> None:
        """Count a request that is over and write its line, if it is to have one."""
        now = time.monotonic()
        seconds = now - exchange.started
        self._metrics.observe_request(exchange.method, exchange.route, status, seconds)
        if (400 <= status != 429) or self._has_room(now):
            facts = {"peer": exchange.connection.peer, "request_id": exchange.request_id}
            self._write(
                exchange.method,
                exchange.path,
                exchange.route,
                status,
                exchange.sent_bytes,
                round(seconds * 1000, 2),
                facts,
            )

    def note_hit(
        self, method: str, path: str, route: str, status: int, size_bytes: int, now: float, **facts: Any
    ) -> None:
        """As `note` for what took no time; a histogram of that would take more."""
        self._hits[route, status] += 1
        if self._has_room(now):
            self._write(method, path, route, status, size_bytes, 0.0, facts)

    def _has_room(self, now: float) -> bool:
        second = int(now)
        if second != self._second:
            self._second = second
            self._left = LINES_A_SECOND
        if self._left:
            self._left -= 1
            return True
        self._omitted += 1
        return False

    def _write(
        self,
        method: str,
        path: str,
        route: str,
        status: int,
        size_bytes: int,
        duration_ms: float,
        facts: dict[str, Any],
    ) -> None:
        if self._omitted:
            facts["omitted"], self._omitted = self._omitted, 0
        log.info(
            "request.answered",
            method=method,
            path=path,
            route=route,
            status=status,
            bytes=size_bytes,
            duration_ms=duration_ms,
            **facts,
        )

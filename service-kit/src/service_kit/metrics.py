"""Prometheus metrics of one application: requests answered, upstream calls made, and `GET /metrics`."""

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 12)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """A registry of its own for each application, so that several can live in one process (as in tests)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request.",
            ("method", "route", "status"),
            registry=self.registry,
            buckets=_SECONDS,
        )
        # Finding a child among its labels costs more than counting with it.
        self._answered: dict[tuple[str, str, int], Histogram] = {}
        self._upstream = Histogram(
            "upstream_request_duration_seconds",
            "Time until an upstream's answer began, or the call failed (status is then the failure).",
            ("host", "status"),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.alerts_dropped = Counter(
            "alerts_dropped_total", "Alerts lost because the buffer was full.", registry=self.registry
        )

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request; unknown methods are one label, so that callers cannot make new ones."""
        child = self._answered.get((method, route, status))
        if child is None:
            known = method if method in _METHODS else "other"
            child = self._requests.labels(known, route, status)
            if known == method:
                self._answered[method, route, status] = child
        child.observe(seconds)

    def observe_upstream(self, host: str, status: str, seconds: float) -> None:
        """Count one try of an outgoing call."""
        self._upstream.labels(host, status).observe(seconds)


METRICS = web.AppKey("metrics", Metrics)


async def get_metrics(request: web.Request) -> web.Response:
    """Everything this process counts, in Prometheus' text format."""
    body = generate_latest(request.app[METRICS].registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

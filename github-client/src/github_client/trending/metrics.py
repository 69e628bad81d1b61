"""What Prometheus is told of the trending pages."""

from prometheus_client import Counter, Gauge

from github_client.trending.page_key import Section
from github_client.trending.stored import TrendingHealth
from service_kit.metrics import Metrics


class TrendingMetrics:
    """Counters of this process's collector, and gauges of the store that all replicas share."""

    def __init__(self, metrics: Metrics) -> None:
        self._fetches = Counter(
            "trending_fetches_total",
            "Fetches of trending pages: stored, degraded or unreadable (the page changed), failed, limited.",
            ("section", "outcome"),
            registry=metrics.registry,
        )
        self._parses = Counter(
            "trending_parses_total",
            "Parses of fetched pages: good, degraded (implausible) or unreadable.",
            ("section", "verdict"),
            registry=metrics.registry,
        )
        self._leading = Gauge(
            "trending_collector_leading", "1 in the process that collects.", registry=metrics.registry
        )
        self._pages = Gauge(
            "trending_pages",
            "Trending pages by state: known, warm (fetched regularly), failing (of these).",
            ("state",),
            registry=metrics.registry,
        )
        self._oldest = Gauge(
            "trending_oldest_page_seconds", "Age of the oldest snapshot of a warm page.", registry=metrics.registry
        )

    def count(self, section: Section, outcome: str) -> None:
        """Count a fetch; what was parsed counts as a parse, too."""
        self._fetches.labels(section, outcome).inc()
        if outcome in {"stored", "degraded", "unreadable"}:
            self._parses.labels(section, "good" if outcome == "stored" else outcome).inc()

    def show_leading(self, *, leads: bool) -> None:
        """Whether this process collects."""
        self._leading.set(leads)

    def show_health(self, health: TrendingHealth) -> None:
        """How the store does."""
        self._pages.labels("known").set(health.pages_known)
        self._pages.labels("warm").set(health.pages_warm)
        self._pages.labels("failing").set(health.pages_failing)
        self._oldest.set(health.oldest_seconds or 0)

"""The trending pages put together: what fetches, keeps and answers them in one process."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from github_client.clock import Clock
from github_client.languages import LanguageCatalogue
from github_client.trending.answers import TrendingAnswers
from github_client.trending.collector import Collector
from github_client.trending.incidents import ParseIncidents
from github_client.trending.metrics import TrendingMetrics
from github_client.trending.page_key import PageKey
from github_client.trending.store import TrendingStore
from github_client.trending.watch import TrendingWatch
from github_client.trending.website import TrendingWebsite
from service_kit.alerts import Alerts
from service_kit.client import open_session
from service_kit.database import Database
from service_kit.health import Check
from service_kit.metrics import Metrics
from service_kit.tasks import running


@asynccontextmanager
async def trending_pages(
    database: Database,
    clock: Clock,
    catalogue: LanguageCatalogue,
    metrics: Metrics,
    alerts: Alerts,
    *,
    web_url: str,
    configured: Sequence[PageKey],
    interval_seconds: float,
    page_interval_seconds: float,
) -> AsyncIterator[tuple[TrendingAnswers, Check]]:
    """Collect and answer pages, keep `catalogue` current, while the context is open."""

    def report(incident: str, section: str, message: str) -> None:
        alerts.report_incident(incident, kind="TrendingPageChanged", where=f"trending {section}", message=message)

    store = TrendingStore(database, clock)
    shown = TrendingMetrics(metrics)
    # One try each: every request to github.com is paced.
    async with open_session(metrics) as session:
        website = TrendingWebsite(session, web_url, clock)
        incidents = ParseIncidents(report, clock)
        collector = Collector(
            website, store, clock, shown, incidents, configured, interval_seconds, page_interval_seconds
        )
        answers = TrendingAnswers(store, website, clock, interval_seconds)
        watch = TrendingWatch(store, catalogue, shown.show_health, lambda: website.is_readable)
        async with (
            running("trending collector", collector.run),
            running("trending watch", watch.run),
            answers.running(),
        ):
            yield answers, Check(watch.is_well, details=watch.details)

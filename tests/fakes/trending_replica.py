"""One replica's trending pages, put together as a service does, to be moved step by step on a simulated clock."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
from pydantic import SecretStr

from github_client.trending.answers import TrendingAnswers
from github_client.trending.collector import Collector
from github_client.trending.incidents import ParseIncidents
from github_client.trending.metrics import TrendingMetrics
from github_client.trending.page_key import PageKey, configured_pages
from github_client.trending.store import TrendingStore
from github_client.trending.website import TrendingWebsite
from service_kit.alerts import Alert, Alerts
from service_kit.client import open_session
from service_kit.database import Database
from service_kit.metrics import Metrics
from tests.fakes.clock import SimulatedClock

ALERT = "select enqueue_notification('alert', %s::jsonb, %s, %s)"


class TrendingReplica:
    """A collector and what answers requests, on a database that they share with others."""

    def __init__(self, database: Database, website: TrendingWebsite, clock: SimulatedClock, pages: Sequence[PageKey]):
        self.clock = clock
        self.metrics = Metrics()
        self.database = database
        self.store = TrendingStore(database, clock)
        self.alerts = Alerts("repo-service", self._deliver, self.metrics)
        self.collector = Collector(
            website,
            self.store,
            clock,
            TrendingMetrics(self.metrics),
            ParseIncidents(self._report, clock),
            pages,
            interval_seconds=5,
        )
        self.answers = TrendingAnswers(self.store, website, clock, interval_seconds=0.01)

    async def collect(self, seconds: float, *others: "TrendingReplica", step_seconds: float = 2) -> None:
        """Let so much time pass in which it, and others, do what they would."""
        for _ in range(int(seconds / step_seconds)):
            await asyncio.gather(*(replica.collector.step() for replica in (self, *others)))
            self.clock.advance(step_seconds)
        await self.alerts.flush()

    def metric(self, name: str, **labels: str) -> float:
        """What Prometheus would be told."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def _report(self, incident: str, section: str, message: str) -> None:
        self.alerts.report_incident(incident, kind="TrendingPageChanged", where=section, message=message)

    async def _deliver(self, alert: Alert) -> None:
        body = msgspec.json.encode(alert).decode()
        await self.database.fetch_one(ALERT, (body, alert.dedup_key, alert.occurrences))


@asynccontextmanager
async def trending_replica(
    github_url: str, database_url: str, clock: SimulatedClock, pages: Sequence[PageKey] = configured_pages("")
) -> AsyncIterator[TrendingReplica]:
    """A replica that lives while the context is open."""
    database = Database(SecretStr(database_url), "test")
    await database.open()
    async with open_session(Metrics()) as session:
        replica = TrendingReplica(database, TrendingWebsite(session, github_url, clock), clock, pages)
        async with replica.answers.running():
            yield replica
    await database.close()

"""One replica's way to GitHub: limits, copies in the process, copies in Postgres; put together as a service does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession
from pydantic import SecretStr

from github_client.cache import MemoryCache
from github_client.cached_github import CachedGitHub
from github_client.client import GitHubClient
from github_client.clock import Clock
from github_client.credentials import Credential, OperatorCredentials
from github_client.quota import QuotaKeeper
from github_client.rate_limits import RateLimits
from github_client.shared_cache import SharedCache
from service_kit.alerts import Alert, Alerts
from service_kit.client import open_session
from service_kit.database import Database
from service_kit.metrics import Metrics


def make_client(
    session: ClientSession,
    github_url: str,
    *operator: Credential,
    clock: Clock | None = None,
    keeper: QuotaKeeper | None = None,
    alerts: Alerts | None = None,
) -> GitHubClient:
    """A client with limits of its own."""

    async def deliver(_alert: Alert) -> None:
        """Nobody wants to know."""

    metrics = Metrics()
    credentials = OperatorCredentials(operator)
    told = alerts or Alerts("test", deliver, metrics)
    limits = RateLimits(credentials, keeper or QuotaKeeper(), clock or Clock(), metrics, told)
    return GitHubClient(session, github_url, limits, clock or Clock(), metrics)


@asynccontextmanager
async def replica(
    github_url: str, database_url: str, clock: Clock, *operator: Credential
) -> AsyncIterator[CachedGitHub]:
    """A replica that runs while the context is open."""
    database = Database(SecretStr(database_url), "test")
    await database.open()
    async with open_session(Metrics()) as session:
        client = make_client(session, github_url, *operator, clock=clock)
        cached = CachedGitHub(client, MemoryCache(), SharedCache(database, clock), clock, Metrics())
        async with cached.running():
            yield cached
    await database.close()

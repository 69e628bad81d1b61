"""One replica's way to GitHub's answers: copies in the process, copies in Postgres, the client; put together as a service does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from github_client.cache import MemoryCache
from github_client.cached_github import CachedGitHub
from github_client.client import GitHubClient
from github_client.clock import Clock
from github_client.credentials import Credential, OperatorCredentials
from github_client.shared_cache import SharedCache
from service_kit.client import open_session
from service_kit.database import Database
from service_kit.metrics import Metrics


@asynccontextmanager
async def replica(
    github_url: str, database_url: str, clock: Clock, *operator: Credential
) -> AsyncIterator[CachedGitHub]:
    """A replica that runs while the context is open."""
    database = Database(SecretStr(database_url), "test")
    await database.open()
    async with open_session(Metrics()) as session:
        client = GitHubClient(session, github_url, OperatorCredentials(operator))
        cached = CachedGitHub(client, MemoryCache(), SharedCache(database, clock), clock, Metrics())
        async with cached.running():
            yield cached
    await database.close()

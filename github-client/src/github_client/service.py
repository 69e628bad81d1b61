"""The assembly that the three data services share: database, alerts, GitHub client, trending pages, catalogue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import structlog
from aiohttp import web
from pydantic import SecretStr

from github_client.account_store import Accounts
from github_client.cache import MemoryCache
from github_client.cached_github import CachedGitHub
from github_client.client import GitHubClient
from github_client.clock import Clock
from github_client.credentials import Credential, OperatorCredentials
from github_client.languages import LanguageCatalogue
from github_client.shared_cache import SharedCache, sweep
from github_client.trending.website import TrendingPages
from service_kit.alerts import alerts
from service_kit.app import create_app
from service_kit.client import open_session
from service_kit.database import DATABASE, add_database
from service_kit.errors import Unavailable
from service_kit.health import CHECKS, Check
from service_kit.metrics import METRICS
from service_kit.notifications import enqueue_alerts
from service_kit.settings import HttpUrl, PostgresUrl, SecretKey, ServiceSettings
from service_kit.tasks import running

ACCOUNTS_INTERVAL_SECONDS = 60.0
GITHUB_TRIES = 2
CLOCK = web.AppKey("clock", Clock)
"""To be replaced before the start by who wants another time."""
GITHUB = web.AppKey("github", CachedGitHub)
TRENDING = web.AppKey("trending", TrendingPages)
CATALOGUE = web.AppKey("catalogue", LanguageCatalogue)
log = structlog.get_logger()


class DataServiceSettings(ServiceSettings):
    """What a service that asks GitHub reads; each adds its own port."""

    database_url: PostgresUrl
    secret_key: SecretKey
    github_api_url: HttpUrl = "https://api.github.com"
    github_web_url: HttpUrl = "https://github.com"
    github_tokens: SecretStr = SecretStr("")
    """Comma-separated."""

    def operator_credentials(self) -> list[Credential]:
        """One for each of GITHUB_TOKENS, named by its place."""
        tokens = [token.strip() for token in self.github_tokens.get_secret_value().split(",") if token.strip()]
        return [Credential("operator", f"GITHUB_TOKENS[{place}]", token) for place, token in enumerate(tokens)]


def create_data_app(service: str, settings: DataServiceSettings) -> web.Application:
    """An application with `app[GITHUB]`, `app[TRENDING]` and `app[CATALOGUE]`; it starts and lives without Postgres."""
    app = create_app()
    app[CLOCK] = Clock()
    app[CATALOGUE] = LanguageCatalogue()
    add_database(app, settings.database_url, service)
    app.cleanup_ctx.append(alerts(service, enqueue_alerts))
    app.cleanup_ctx.append(partial(_github, settings))
    return app


async def _github(settings: DataServiceSettings, app: web.Application) -> AsyncIterator[None]:
    credentials = OperatorCredentials(settings.operator_credentials())
    accounts = Accounts(app[DATABASE], settings.secret_key)
    clock = app[CLOCK]
    async with open_session(app[METRICS], tries=GITHUB_TRIES) as session:
        github = GitHubClient(session, settings.github_api_url, credentials)
        shared = SharedCache(app[DATABASE], clock)
        app[GITHUB] = cached = CachedGitHub(github, MemoryCache(), shared, clock, app[METRICS])
        trending = app[TRENDING] = TrendingPages(session, settings.github_web_url, app[CATALOGUE])

        async def is_well() -> bool:
            return github.is_reachable and trending.is_parsable

        async def keep_accounts() -> None:
            checked: set[str] = set()
            while True:
                with suppress(Unavailable):  # Postgres is away: those known go on
                    credentials.replace_stored(await accounts.load())
                await github.check_operator_credentials(checked)
                await asyncio.sleep(ACCOUNTS_INTERVAL_SECONDS)

        app[CHECKS]["github"] = Check(is_well)
        async with (
            running("accounts", keep_accounts),
            running("shared cache sweep", partial(sweep, shared)),
            cached.running(),
        ):
            yield

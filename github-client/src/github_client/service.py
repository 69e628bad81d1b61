"""The assembly that the three data services share: database, alerts, GitHub client, trending pages, catalogue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from github_client.account_store import Accounts
from github_client.cache import MemoryCache
from github_client.cached_github import CachedGitHub
from github_client.client import GitHubClient
from github_client.clock import Clock
from github_client.credentials import Credential, OperatorCredentials, application_credential, identity_key
from github_client.languages import LanguageCatalogue
from github_client.quota import QuotaKeeper
from github_client.quota_exchange import QuotaExchange
from github_client.rate_limits import RateLimits
from github_client.shared_cache import SharedCache, sweep
from github_client.trending.answers import TrendingAnswers
from github_client.trending.assembly import trending_pages
from github_client.trending.page_key import configured_pages
from github_client.trending.store import PAGE_INTERVAL_SECONDS
from service_kit.alerts import ALERTS, alerts
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
GITHUB_CLIENT = web.AppKey("github client", GitHubClient)
"""For what is asked in the background and kept elsewhere than among the copies."""
TRENDING = web.AppKey("trending", TrendingAnswers)
CATALOGUE = web.AppKey("catalogue", LanguageCatalogue)
_GITHUB = {"github.com", "www.github.com"}
LEAST_INTERVAL_SECONDS = {"trending_interval_seconds": 5.0, "trending_page_interval_seconds": PAGE_INTERVAL_SECONDS}
"""Of GitHub itself nobody asks for trending pages faster."""
log = structlog.get_logger()


def _languages(value: str) -> str:
    configured_pages(value)
    return value


class DataServiceSettings(ServiceSettings):
    """What a service that asks GitHub reads; each adds its own port."""

    database_url: PostgresUrl
    secret_key: SecretKey
    github_api_url: HttpUrl = "https://api.github.com"
    github_web_url: HttpUrl = "https://github.com"
    github_tokens: SecretStr = SecretStr("")
    """Comma-separated."""
    github_client_id: str = ""
    github_client_secret: Annotated[SecretStr, Field(validate_default=True)] = SecretStr("")
    """Of an OAuth application: both or none."""
    trending_languages: Annotated[str, AfterValidator(_languages)] = ""
    """Names or slugs, comma-separated: their trending pages are kept whether anybody asks or not."""
    trending_interval_seconds: Annotated[float, Field(gt=0, le=60)] = LEAST_INTERVAL_SECONDS[
        "trending_interval_seconds"
    ]
    """Between two requests to github.com, over all replicas."""
    trending_page_interval_seconds: Annotated[float, Field(gt=0, le=3600)] = PAGE_INTERVAL_SECONDS
    """Between two requests for one page, over all replicas."""

    @field_validator("trending_interval_seconds", "trending_page_interval_seconds")
    @classmethod
    def _spare_github(cls, value: float, info: ValidationInfo) -> float:
        least = LEAST_INTERVAL_SECONDS[info.field_name or ""]
        if value < least and urlsplit(info.data.get("github_web_url", "")).hostname in _GITHUB:
            raise ValueError(f"should be at least {least:.0f}, unless GITHUB_WEB_URL is an imitation")
        return value

    @field_validator("github_client_secret")
    @classmethod
    def _come_as_a_pair(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if bool(value.get_secret_value()) != bool(info.data.get("github_client_id")):
            raise ValueError("goes with GITHUB_CLIENT_ID: both or none")
        return value

    def operator_credentials(self) -> list[Credential]:
        """One for each of GITHUB_TOKENS, named by its place, and the OAuth application."""
        key = identity_key(self.secret_key)
        tokens = [token.strip() for token in self.github_tokens.get_secret_value().split(",") if token.strip()]
        credentials = [
            Credential("operator", f"GITHUB_TOKENS[{place}]", token, key=key) for place, token in enumerate(tokens)
        ]
        if self.github_client_id:
            credentials.append(application_credential(self.github_client_id, self.github_client_secret, key))
        return credentials


def create_data_app(
    service: str, settings: DataServiceSettings, *, has_trending_pages: bool = False
) -> web.Application:
    """An application with `app[GITHUB]` and `app[CATALOGUE]`; it starts and lives without Postgres.

    With `has_trending_pages` it has `app[TRENDING]`, too, and is one of those that may collect them.
    """
    app = create_app()
    app[CLOCK] = Clock()
    app[CATALOGUE] = LanguageCatalogue()
    add_database(app, settings.database_url, service)
    app.cleanup_ctx.append(alerts(service, enqueue_alerts))
    app.cleanup_ctx.append(partial(_github, settings))
    if has_trending_pages:
        app.cleanup_ctx.append(partial(_trending, settings))
    return app


async def _github(settings: DataServiceSettings, app: web.Application) -> AsyncIterator[None]:
    credentials = OperatorCredentials(settings.operator_credentials())
    accounts = Accounts(app[DATABASE], settings.secret_key)
    clock = app[CLOCK]
    async with open_session(app[METRICS], tries=GITHUB_TRIES) as session:
        keeper = QuotaKeeper()
        exchange = QuotaExchange(app[DATABASE], keeper, credentials, clock)
        limits = RateLimits(credentials, keeper, clock, app[METRICS], app[ALERTS])
        app[GITHUB_CLIENT] = github = GitHubClient(session, settings.github_api_url, limits, clock, app[METRICS])
        shared = SharedCache(app[DATABASE], clock)
        app[GITHUB] = cached = CachedGitHub(github, MemoryCache(), shared, clock, app[METRICS])

        async def is_well() -> bool:
            return github.is_reachable

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
            running("quota", exchange.run),
            running("shared cache sweep", partial(sweep, shared)),
            cached.running(),
        ):
            yield


async def _trending(settings: DataServiceSettings, app: web.Application) -> AsyncIterator[None]:
    async with trending_pages(
        app[DATABASE],
        app[CLOCK],
        app[CATALOGUE],
        app[METRICS],
        app[ALERTS],
        web_url=settings.github_web_url,
        configured=configured_pages(settings.trending_languages),
        interval_seconds=settings.trending_interval_seconds,
        page_interval_seconds=settings.trending_page_interval_seconds,
    ) as (app[TRENDING], app[CHECKS]["trending"]):
        yield

"""github.com as a source of trending pages: one fetch of one page, and the rest that GitHub asks for."""

import asyncio
from datetime import UTC, datetime

import aiohttp
import msgspec
from yarl import URL

from github_client.client import TIMEOUT_SECONDS
from github_client.clock import Clock
from github_client.languages import Language
from github_client.protocol import recognise_limit
from github_client.trending.html import PAGE_LIMIT_BYTES, PageNotReady, TrendingParseError
from github_client.trending.page_key import PageKey, Section
from github_client.trending.parser import (
    TrendingDeveloper,
    TrendingPage,
    TrendingRepository,
    parse_developers,
    parse_language_menu,
    parse_repositories,
)
from github_client.wire import USER_AGENT
from service_kit.client import fetch
from service_kit.errors import UpstreamFault, UpstreamLimited, UpstreamStatus

LEAST_REST_SECONDS = 60


class PageUnreadable(UpstreamFault):
    """GitHub answered with something that is no trending page, or no longer one as we know it."""


class FetchedPage(msgspec.Struct, frozen=True):
    """What one fetch brought."""

    rows: tuple[TrendingRepository, ...] | tuple[TrendingDeveloper, ...]
    unreadable_rows: int
    menu: tuple[Language, ...] | None
    """The languages that the page offers; None where they were not asked for."""


class TrendingWebsite:
    """Fetches github.com/trending without any credential, each page with one request."""

    def __init__(self, session: aiohttp.ClientSession, web_url: str, clock: Clock) -> None:
        """`session` should not try again by itself: requests to github.com are counted and paced elsewhere."""
        self._session = session
        self._web_url = web_url
        self._clock = clock
        self._rest_until = float("-inf")
        self.is_readable = True
        """False while the last page that was fetched here did not come, or could not be read."""

    @property
    def rest_seconds(self) -> float:
        """For how long GitHub wants to be left alone; 0 if it does not."""
        return max(0.0, self._rest_until - self._clock.seconds())

    async def fetch(self, key: PageKey, *, with_menu: bool = False) -> FetchedPage:
        """Fetch and parse one page, within 12 s.

        Raises UpstreamLimited (429 or 403, and without asking while GitHub wants to be left alone), PageUnreadable,
        UpstreamFault and its kin.
        """
        if self.rest_seconds:
            raise UpstreamLimited("GitHub limits its trending pages.", retry_after_seconds=int(self.rest_seconds) + 1)
        self.is_readable = False
        html = await self._html(key)
        try:
            # Milliseconds each, off the event loop; apart, so that it gets its turn between them.
            page = await asyncio.to_thread(_parse, key.section, html)
            menu = await asyncio.to_thread(parse_language_menu, html) if with_menu else None
        except PageNotReady as error:
            raise UpstreamFault(str(error)) from error
        except TrendingParseError as error:
            raise PageUnreadable(str(error)) from error
        self.is_readable = True
        return FetchedPage(page.rows, page.unreadable_rows, menu)

    async def _html(self, key: PageKey) -> bytes:
        try:
            reply = await fetch(
                self._session,
                "GET",
                URL(f"{self._web_url}{key.target}", encoded=True),
                headers={"Accept": "text/html", "User-Agent": USER_AGENT},
                timeout_seconds=TIMEOUT_SECONDS,
                body_limit_bytes=PAGE_LIMIT_BYTES,
            )
        except UpstreamStatus as error:
            if error.upstream_status in {403, 429}:
                limit = recognise_limit(error.upstream_status, error.headers, error.body, datetime.now(UTC))
                seconds = max(limit.retry_after_seconds if limit else 0, LEAST_REST_SECONDS)
                self._rest_until = self._clock.seconds() + seconds
                raise UpstreamLimited("GitHub limits its trending pages.", retry_after_seconds=seconds) from error
            raise
        if reply.status != 200:
            raise UpstreamFault(f"GitHub's trending page answered with an unexpected {reply.status}.")
        return reply.body


def _parse(section: Section, html: bytes) -> TrendingPage[TrendingRepository] | TrendingPage[TrendingDeveloper]:
    return parse_repositories(html) if section == "repositories" else parse_developers(html)

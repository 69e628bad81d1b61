"""github.com as a source of trending pages: one fetch of a page, parsed."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

import aiohttp
import structlog
from yarl import URL

from github_client.client import TIMEOUT_SECONDS, USER_AGENT
from github_client.languages import LanguageCatalogue
from github_client.trending.html import PAGE_LIMIT_BYTES
from github_client.trending.page_key import PageKey
from github_client.trending.parser import TrendingParseError, parse_language_menu
from service_kit.client import fetch
from service_kit.errors import UpstreamFault, UpstreamLimited, UpstreamStatus

RETRY_AFTER_LIMIT_SECONDS = 60
T = TypeVar("T")
log = structlog.get_logger()


class Fetched(NamedTuple, Generic[T]):
    """A parsed page and when it was fetched, UTC."""

    value: T
    as_of: datetime


class TrendingPages:
    """Fetches github.com/trending, without any credential, and keeps the language catalogue at what the pages offer."""

    def __init__(self, session: aiohttp.ClientSession, web_url: str, catalogue: LanguageCatalogue) -> None:
        self._session = session
        self._web_url = web_url
        self._catalogue = catalogue
        self.is_parsable = True
        """False while the last page could not be fetched or parsed."""

    async def fetch(self, key: PageKey, parse: Callable[[bytes], T]) -> Fetched[T]:
        """Fetch and parse one page, within 12 s.

        Raises UpstreamLimited (429), and UpstreamFault and its kin, also for a page that cannot be parsed.
        """
        url = URL(f"{self._web_url}{key.target}", encoded=True)
        try:
            reply = await fetch(
                self._session,
                "GET",
                url,
                headers={"Accept": "text/html", "User-Agent": USER_AGENT},
                timeout_seconds=TIMEOUT_SECONDS,
                body_limit_bytes=PAGE_LIMIT_BYTES,
            )
            if reply.status != 200:
                raise UpstreamFault(f"GitHub's trending page answered with an unexpected {reply.status}.")
            # Milliseconds of work for a page of this size: off the event loop.
            rows = await asyncio.to_thread(self._parse, reply.body, parse)
        except UpstreamStatus as error:
            self.is_parsable = False
            if error.upstream_status == 429:
                raise UpstreamLimited(
                    "GitHub limits its trending page.", retry_after_seconds=RETRY_AFTER_LIMIT_SECONDS
                ) from error
            raise
        except TrendingParseError as error:
            self.is_parsable = False
            log.error("trending.unparsable", target=key.target, error=str(error))
            raise UpstreamFault("GitHub's trending page cannot be read.") from error
        except UpstreamFault:
            self.is_parsable = False
            raise
        self.is_parsable = True
        return Fetched(rows, datetime.now(UTC))

    def _parse(self, html: bytes, parse: Callable[[bytes], Any]) -> Any:
        page = parse(html)
        menu = parse_language_menu(html)
        if not self._catalogue.update(menu):
            log.warning("trending.menu_refused", languages=len(menu))
        return page

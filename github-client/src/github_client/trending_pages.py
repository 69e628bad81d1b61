"""Trending pages: what may be asked of github.com/trending, and one fetch of it, parsed."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import aiohttp
import msgspec
import structlog
from yarl import URL

from github_client.client import TIMEOUT_SECONDS, USER_AGENT
from github_client.languages import LanguageCatalogue
from github_client.models import Answer
from github_client.trending import TrendingParseError, parse_language_menu
from github_client.trending_html import PAGE_LIMIT_BYTES
from service_kit.client import fetch
from service_kit.errors import UnprocessableParameter, UpstreamFault, UpstreamLimited, UpstreamStatus
from service_kit.query import Query

SINCE = ("daily", "weekly", "monthly")
RETRY_AFTER_LIMIT_SECONDS = 60
T = TypeVar("T")
log = structlog.get_logger()


class TrendingRequest(msgspec.Struct, frozen=True):
    """One page: period, GitHub's slug of the programming language, ISO 639-1 code of the spoken one; None for all."""

    since: Literal["daily", "weekly", "monthly"]
    language_slug: str | None = None
    spoken_language_code: str | None = None

    @property
    def query(self) -> str:
        """As github.com takes it."""
        spoken = f"&spoken_language_code={self.spoken_language_code}" if self.spoken_language_code else ""
        return f"since={self.since}{spoken}"


def trending_request(query: Query, catalogue: LanguageCatalogue) -> TrendingRequest:
    """Read `since`, `language` (a slug or a name, in any case; absent or "all" for all) and `spoken_language_code`.

    Raises UnprocessableParameter for an unknown value, with the nearest names for a language.
    """
    since = query.choice("since", SINCE, "daily")
    # Slugs hold plus signs (c++), forms turn spaces into them: the sign is tried first.
    text = query.text("language", plus_is_space=False)
    slug = None
    if text is not None and text.lower() != "all":
        language = catalogue.lookup(text) or catalogue.lookup(text.replace("+", " "))
        if language is None:
            raise UnprocessableParameter(
                "language", "is not a language of GitHub's trending page.", nearest=catalogue.nearest(text)
            )
        slug = language.slug
    spoken = query.text("spoken_language_code")
    if spoken is not None and not (len(spoken) == 2 and spoken.isascii() and spoken.isalpha() and spoken.islower()):
        raise UnprocessableParameter("spoken_language_code", "should be a code of two lower-case letters (ISO 639-1).")
    return TrendingRequest(since, slug, spoken)  # type: ignore[arg-type]


class TrendingPages:
    """Fetches github.com/trending, without any credential, and keeps the language catalogue at what the pages offer."""

    def __init__(self, session: aiohttp.ClientSession, web_url: str, catalogue: LanguageCatalogue) -> None:
        self._session = session
        self._web_url = web_url
        self._catalogue = catalogue
        self.is_parsable = True
        """False while the last page could not be fetched or parsed."""

    async def fetch(
        self, section: Literal["", "/developers"], wanted: TrendingRequest, parse: Callable[[bytes], T]
    ) -> Answer[T]:
        """Fetch and parse one page, within 12 s.

        Raises UpstreamLimited (429), and UpstreamFault and its kin, also for a page that cannot be parsed.
        """
        language = f"/{wanted.language_slug}" if wanted.language_slug else ""
        url = URL(f"{self._web_url}/trending{section}{language}?{wanted.query}", encoded=True)
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
            log.error("trending.unparsable", section=section or "/", query=wanted.query, error=str(error))
            raise UpstreamFault("GitHub's trending page cannot be read.") from error
        except UpstreamFault:
            self.is_parsable = False
            raise
        self.is_parsable = True
        return Answer(value=rows, as_of=datetime.now(UTC), personal=False)

    def _parse(self, html: bytes, parse: Callable[[bytes], Any]) -> Any:
        page = parse(html)
        menu = parse_language_menu(html)
        if not self._catalogue.update(menu):
            log.warning("trending.menu_refused", languages=len(menu))
        return page

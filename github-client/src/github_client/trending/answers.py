"""Trending pages as they are answered: the process's copy, the store's, and where all else is away GitHub's own."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from math import ceil

import msgspec
import structlog

from github_client.clock import Clock
from github_client.lifetimes import STALE_IF_ERROR_SECONDS
from github_client.trending.page_key import PageKey
from github_client.trending.parse_health import filled, judge
from github_client.trending.store import TrendingStore
from github_client.trending.stored import Standing, StoredPage
from github_client.trending.watch import STALE_SECONDS
from github_client.trending.website import TrendingWebsite
from service_kit.answers import Freshness
from service_kit.errors import Unavailable, UpstreamFault
from service_kit.tasks import running

MOST_COPIES = 400
"""Of about 15 KB each."""
TRUSTED_SECONDS = 10.0
"""For so long a copy is answered without asking the store for a newer one."""
STORE_TIMEOUT_SECONDS = 1.0
AWAY_SECONDS = 2.0
"""For so long the store is not asked after it failed: nobody is to wait for it twice."""
PATIENCE_SECONDS = 11.0
"""How long a caller waits for a page that nobody asked for before; the gateway waits 15 s for us."""
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.05, 0.4
MOST_WAITED_FOR = 50
RETRY_AFTER_SECONDS = 30
NOTE_INTERVAL_SECONDS = 10.0
ROUND_SECONDS = 900
"""Within this a new snapshot comes."""
LEAST_MAX_AGE_SECONDS = 60
_NO_STANDING = b"," + msgspec.json.encode(dict.fromkeys(Standing.__struct_fields__))[1:]
log = structlog.get_logger()


class TrendingAnswer(msgspec.Struct, frozen=True):
    """A page as it is to be answered."""

    rows: bytes
    """A JSON array; see StoredPage."""
    as_of: datetime
    """UTC."""
    age_seconds: int
    is_stale: bool
    """Older than two rounds, or only read in part."""
    max_age_seconds: int
    """Until a newer snapshot can be expected, 60 to 900."""
    snapshot_id: int
    """0 for a page that never was in the store."""

    @property
    def freshness(self) -> Freshness:
        """For the headers."""
        # A page that was only read in part is stale from its first second on.
        left = min(-1, int(STALE_SECONDS) - self.age_seconds) if self.is_stale else self.max_age_seconds
        return Freshness(left, self.as_of, ROUND_SECONDS, STALE_IF_ERROR_SECONDS, is_copy=True)


class _Copy:
    __slots__ = ("checked_seconds", "page", "taken_seconds")

    def __init__(self, page: StoredPage, now_seconds: float) -> None:
        self.page = page
        self.taken_seconds = now_seconds - page.age_seconds
        self.checked_seconds = now_seconds


class TrendingAnswers:
    """Answers pages. To be used in `async with running()`."""

    def __init__(self, store: TrendingStore, website: TrendingWebsite, clock: Clock, interval_seconds: float) -> None:
        """`interval_seconds` lie between two requests to GitHub, where this process has to ask by itself."""
        self.store = store
        self._website = website
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._copies: OrderedDict[PageKey, _Copy] = OrderedDict()
        self._flights: dict[PageKey, asyncio.Task[_Copy]] = {}
        self._asked: set[PageKey] = set()
        self._away_until = float("-inf")
        self._waited_for = 0
        self._turn = asyncio.Lock()
        self._next_request_seconds = float("-inf")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fetches go on, and the store is told what was asked for, while the context is open."""
        try:
            async with running("trending notes", self._keep_noting):
                yield
        finally:
            for flight in self._flights.values():
                flight.cancel()
            await asyncio.gather(*self._flights.values(), return_exceptions=True)

    async def latest(self, key: PageKey) -> TrendingAnswer:
        """The page as it was last seen well.

        Raises UpstreamFault for a page that never came because GitHub fails, Unavailable for one that did not come
        soon enough, UpstreamLimited while GitHub wants to be left alone and there is no copy of the page.
        """
        if len(self._asked) < MOST_COPIES:
            self._asked.add(key)
        copy = self._copies.get(key)
        if copy is None or self._clock.seconds() - copy.checked_seconds > TRUSTED_SECONDS:
            copy = await self._renewed(key)
        else:
            self._copies.move_to_end(key)
        return self._answer(copy)

    async def _renewed(self, key: PageKey) -> _Copy:
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._renew(key), name=f"trending {key.target}")
            flight.add_done_callback(lambda landed: self._land(key, landed))
        # Whoever leaves, leaves the others waiting for it.
        return await asyncio.shield(flight)

    def _land(self, key: PageKey, flight: asyncio.Task[_Copy]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # it may be that nobody waits for it any more

    async def _renew(self, key: PageKey) -> _Copy:
        copy = self._copies.get(key)
        if self._clock.seconds() >= self._away_until:
            try:
                return await self._from_store(key, copy)
            except _StoreAway as error:
                log.warning("trending.store_away", error=repr(error.__cause__))
                self._away_until = self._clock.seconds() + AWAY_SECONDS
        return copy or await self._from_github(key)

    async def _from_store(self, key: PageKey, copy: _Copy | None) -> _Copy:
        async with _away_within(STORE_TIMEOUT_SECONDS):
            found = await self.store.latest(key, copy.page.snapshot_id if copy else None)
        if isinstance(found, StoredPage):
            return self._kept(key, found)
        if copy is None:
            return await self._awaited(key)
        # Unchanged; or not in the store at all, which then gets to know of it from what was asked.
        copy.checked_seconds = self._clock.seconds()
        self._copies.move_to_end(key)
        return copy

    async def _awaited(self, key: PageKey) -> _Copy:
        """Have the collector fetch a page, and wait for it."""
        if self._waited_for >= MOST_WAITED_FOR:
            raise Unavailable("Too many pages are waited for.", retry_after_seconds=RETRY_AFTER_SECONDS)
        self._waited_for += 1
        try:
            async with _away_within(STORE_TIMEOUT_SECONDS):
                await self.store.ask([key], waiting=True)
            end, pause_seconds = self._clock.seconds() + PATIENCE_SECONDS, FIRST_POLL_SECONDS
            while self._clock.seconds() < end:
                async with _away_within(STORE_TIMEOUT_SECONDS):
                    found = await self.store.latest(key)
                    failing = await self.store.failing(key) if found is None else None
                if isinstance(found, StoredPage):
                    return self._kept(key, found)
                if failing and failing.retry_in_seconds > PATIENCE_SECONDS:
                    raise UpstreamFault(failing.reason, retry_after_seconds=ceil(failing.retry_in_seconds))
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 1.5, LONGEST_POLL_SECONDS)
        finally:
            self._waited_for -= 1
        raise Unavailable(
            "This page was asked for just now and has not come yet.", retry_after_seconds=RETRY_AFTER_SECONDS
        )

    async def _from_github(self, key: PageKey) -> _Copy:
        """Fetch a page without the store: nobody knows the pace of all now, this process keeps its own at least."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._turn:
                await asyncio.sleep(self._next_request_seconds - self._clock.seconds())
                self._next_request_seconds = self._clock.seconds() + self._interval_seconds
                page = await self._website.fetch(key)
        except TimeoutError as error:
            raise Unavailable("This page cannot be had now.", retry_after_seconds=RETRY_AFTER_SECONDS) from error
        verdict = judge(key, len(page.rows), filled(key.section, page.rows), page.unreadable_rows, [])
        if not verdict.is_good and not page.rows:
            raise UpstreamFault(" ".join(verdict.reasons))
        rows = b"[%b]" % b",".join(msgspec.json.encode(row)[:-1] + _NO_STANDING for row in page.rows)
        return self._kept(key, StoredPage(0, self._clock.utc(), 0.0, not verdict.is_good, rows))

    def _kept(self, key: PageKey, page: StoredPage) -> _Copy:
        copy = self._copies[key] = _Copy(page, self._clock.seconds())
        self._copies.move_to_end(key)
        while len(self._copies) > MOST_COPIES:
            self._copies.popitem(last=False)
        return copy

    def _answer(self, copy: _Copy) -> TrendingAnswer:
        age_seconds = max(0, int(self._clock.seconds() - copy.taken_seconds))
        return TrendingAnswer(
            rows=copy.page.rows,
            as_of=copy.page.taken_at,
            age_seconds=age_seconds,
            is_stale=copy.page.is_degraded or age_seconds > STALE_SECONDS,
            max_age_seconds=max(LEAST_MAX_AGE_SECONDS, ROUND_SECONDS - age_seconds),
            snapshot_id=copy.page.snapshot_id,
        )

    async def _keep_noting(self) -> None:
        while True:
            await asyncio.sleep(NOTE_INTERVAL_SECONDS)
            await self.note_asked()

    async def note_asked(self) -> None:
        """Tell the store what was asked for since the last time; while it is away that is kept."""
        asked, self._asked = self._asked, set()
        try:
            await self.store.ask(asked)
        except Unavailable:
            self._asked |= asked


class _StoreAway(Exception):
    """The store failed, or takes too long."""


@asynccontextmanager
async def _away_within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except (Unavailable, TimeoutError) as error:
        raise _StoreAway from error

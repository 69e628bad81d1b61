"""The collector: of all replicas one at a time fetches the trending pages that are wanted, judges and stores them."""

import asyncio
import os
import random
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress

import structlog

from github_client.clock import Clock
from github_client.languages import Language
from github_client.trending.incidents import ParseIncidents
from github_client.trending.metrics import TrendingMetrics
from github_client.trending.page_key import PageKey
from github_client.trending.parse_health import Verdict, filled, judge
from github_client.trending.store import PAGE_INTERVAL_SECONDS, TrendingStore
from github_client.trending.website import FetchedPage, PageUnreadable, TrendingWebsite
from service_kit.errors import ServiceError, Unavailable, UpstreamFault, UpstreamLimited

LONGEST_ROUND = 1.5
"""A page is fetched again after its interval, or up to this many times as long, drawn anew each time."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 30.0, 1800.0
LEAD_INTERVAL_SECONDS = 2.0
"""The lease of 15 s is renewed, or tried for, this often: who is killed is replaced within 17 s."""
POLL_SECONDS = 0.5
"""Somebody may wait for a page that nobody asked for before."""
ASK_INTERVAL_SECONDS = 30.0
THIN_OUT_INTERVAL_SECONDS, NEXT_BATCH_SECONDS = 3600.0, 5.0
MENU_INTERVAL_SECONDS = 3600.0
MOST_REMEMBERED = 1000
log = structlog.get_logger()


class Collector:
    """Fetches pages while it holds the lease. What it knows of itself may be lost: all that counts is in the store."""

    def __init__(
        self,
        website: TrendingWebsite,
        store: TrendingStore,
        clock: Clock,
        metrics: TrendingMetrics,
        incidents: ParseIncidents,
        configured: Sequence[PageKey],
        interval_seconds: float,
        page_interval_seconds: float = PAGE_INTERVAL_SECONDS,
    ) -> None:
        """`configured` are kept warm whether anybody asks or not; `interval_seconds` lie between two requests, and
        `page_interval_seconds` between two for the same page."""
        self._website = website
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._incidents = incidents
        self._configured = configured
        self._interval_seconds = interval_seconds
        self._page_interval_seconds = page_interval_seconds
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._leads = False
        self._lead_at = self._ask_at = self._thin_out_at = self._menu_at = float("-inf")
        self._menu: tuple[Language, ...] | None = None
        self._failures: dict[PageKey, int] = {}
        self._odd_since: dict[PageKey, float] = {}
        """Since when the number of a page's rows alone speaks against it."""

    async def run(self) -> None:
        """Collect for ever; at the end the lease is given back."""
        is_away = False
        try:
            while True:
                try:
                    pause_seconds = await self.step()
                    is_away = False
                except Unavailable as error:
                    if not is_away:
                        log.warning("trending.collecting_paused", error=error.detail)
                    is_away = True
                    self._show_leading(leads=False)
                    pause_seconds = LEAD_INTERVAL_SECONDS
                await asyncio.sleep(pause_seconds)
        finally:
            with suppress(Unavailable):
                await self.resign()

    async def resign(self) -> None:
        """Let another collect. Raises Unavailable."""
        if self._leads:
            self._show_leading(leads=False)
            await self._store.resign(self._holder)

    async def step(self) -> float:
        """Do what is due, at most one fetch; return for how many seconds nothing else will be. Raises Unavailable."""
        now = self._clock.seconds()
        if now >= self._lead_at:
            self._show_leading(leads=await self._store.lead(self._holder))
            self._lead_at = now + LEAD_INTERVAL_SECONDS
        if not self._leads:
            return LEAD_INTERVAL_SECONDS
        await self._keep_house(now)
        if self._website.rest_seconds:
            return LEAD_INTERVAL_SECONDS
        key = await self._store.claim(self._holder, self._interval_seconds, self._page_interval_seconds)
        if key is not None:
            await self._collect(key)
        return min(POLL_SECONDS, self._interval_seconds)

    def _show_leading(self, *, leads: bool) -> None:
        if leads != self._leads:
            log.info("trending.lease_changed", leads=leads, holder=self._holder)
        self._leads = leads
        self._lead_at = float("-inf")
        self._metrics.show_leading(leads=leads)

    async def _keep_house(self, now: float) -> None:
        if now >= self._ask_at:
            await self._store.ask(self._configured)
            await self._store.ask_for_subscribers()
            self._ask_at = now + ASK_INTERVAL_SECONDS
        if now >= self._thin_out_at:
            gone = await self._store.thin_out()
            self._thin_out_at = now + (NEXT_BATCH_SECONDS if gone else THIN_OUT_INTERVAL_SECONDS)

    async def _collect(self, key: PageKey) -> None:
        try:
            page = await self._website.fetch(key, with_menu=self._clock.seconds() >= self._menu_at)
        except PageUnreadable as error:
            self._incidents.note_bad(key, error.detail)
            await self._fail(key, "unreadable", error)
        except UpstreamLimited as error:
            await self._fail(key, "limited", error)
        except UpstreamFault as error:
            await self._fail(key, "failed", error)
        else:
            await self._keep(key, page)
            await self._keep_menu(page.menu)

    async def _keep(self, key: PageKey, page: FetchedPage) -> None:
        baselines = await self._store.baseline(key.section, key)
        found = filled(key.section, page.rows)
        verdict = judge(key, len(page.rows), found, page.unreadable_rows, baselines)
        if self._is_acceptable(key, verdict):
            seconds = self._page_interval_seconds * random.uniform(1, LONGEST_ROUND)  # noqa: S311
            await self._store.store(key, page.rows, found, is_degraded=False, next_fetch_in_seconds=seconds)
            self._failures.pop(key, None)
            self._metrics.count(key.section, "stored")
            self._incidents.note_good(key)
            return
        reason = " ".join(verdict.reasons)
        if verdict.accepted_after_seconds is None or not (key.language_slug or key.spoken_language_code):
            # That one language has no rows any more need be nobody's fault.
            self._incidents.note_bad(key, reason)
        if page.rows and not any(each.scope == "page" for each in baselines):
            # Better than nothing, and said to be no more than that.
            seconds = self._retry_seconds(key)
            await self._store.store(key, page.rows, found, is_degraded=True, next_fetch_in_seconds=seconds)
        await self._fail(key, "degraded", UpstreamFault(reason))

    def _is_acceptable(self, key: PageKey, verdict: Verdict) -> bool:
        if verdict.accepted_after_seconds is None:
            self._odd_since.pop(key, None)
            return verdict.is_good
        now = self._clock.seconds()
        if now - self._odd_since.setdefault(key, now) < verdict.accepted_after_seconds:
            return False
        del self._odd_since[key]
        return True

    async def _fail(self, key: PageKey, outcome: str, error: ServiceError) -> None:
        self._metrics.count(key.section, outcome)
        seconds = max(self._retry_seconds(key), error.retry_after_seconds or 0)
        failures = await self._store.fail(key, error.detail, seconds)
        if len(self._failures) > MOST_REMEMBERED:
            self._failures.clear()  # of pages that nobody wants any more, most of them
            self._odd_since.clear()
        self._failures[key] = failures
        log.warning("trending.fetch_failed", target=key.target, outcome=outcome, failures=failures, error=error.detail)

    def _retry_seconds(self, key: PageKey) -> float:
        doubled = FIRST_RETRY_SECONDS * 2.0 ** min(self._failures.get(key, 0), 16)
        return min(doubled, LONGEST_RETRY_SECONDS) * random.uniform(0.8, 1.2)  # noqa: S311

    async def _keep_menu(self, menu: tuple[Language, ...] | None) -> None:
        if menu is None:
            return
        self._menu_at = self._clock.seconds() + MENU_INTERVAL_SECONDS
        if menu and menu != self._menu:
            await self._store.save_menu(menu)
            self._menu = menu

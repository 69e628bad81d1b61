"""The watcher: looks at the watched repositories one after another, with what people leave of GitHub's quota."""

import asyncio

import structlog
from prometheus_client import Counter

from github_client.client import GitHubClient
from github_client.releases import PER_PAGE, Release, ReleasePage, check_is_public, fetch_releases
from repo_service.release_watch.news import interval_seconds, new_releases, remembered_ids, retry_seconds
from repo_service.release_watch.store import Watched, WatchStore
from service_kit.errors import (
    Forbidden,
    NotFound,
    ServiceError,
    Unavailable,
    UnavailableForLegalReasons,
    UpstreamFault,
    UpstreamLimited,
)
from service_kit.metrics import Metrics

FOLLOW_INTERVAL_SECONDS = 10.0
IDLE_SECONDS = 1.0
PACE_SECONDS = 1.0
"""Between two looks of one replica: GitHub asks for requests one after another, and allows 900 a minute."""
LONGEST_REST_SECONDS = 300.0
"""With less than its share of the quota left: then it is seen again whether there is more."""
MOST_PAGES = 5
"""A burst of more than 150 releases between two looks is told of in part."""
MISSING = (NotFound, UnavailableForLegalReasons, Forbidden)
log = structlog.get_logger()


class ReleaseWatcher:
    """Every replica runs one; a repository is looked at by one of them at a time."""

    def __init__(self, store: WatchStore, github: GitHubClient, metrics: Metrics) -> None:
        self._store = store
        self._github = github
        self._follow_at = float("-inf")
        self._looks = Counter(
            "release_looks_total",
            "Looks at a repository's releases, and how they ended.",
            ("outcome",),
            registry=metrics.registry,
        )

    async def run(self) -> None:
        """Watch for ever. While Postgres is away nothing is asked."""
        is_away = False
        while True:
            try:
                pause_seconds = await self.step()
                is_away = False
            except Unavailable as error:
                if not is_away:
                    log.warning("release.watch_paused", error=error.detail)
                is_away = True
                pause_seconds = FOLLOW_INTERVAL_SECONDS
            await asyncio.sleep(pause_seconds)

    async def step(self) -> float:
        """Look at one repository if one is due; return the pause until the next step. Raises Unavailable."""
        now = asyncio.get_running_loop().time()
        if now >= self._follow_at:
            await self._store.follow()
            self._follow_at = now + FOLLOW_INTERVAL_SECONDS
        watched = await self._store.claim()
        if watched is None:
            return IDLE_SECONDS
        try:
            await self._look(watched)
        except UpstreamLimited as error:
            # Not this repository's fault: it comes first when there is quota again.
            self._looks.labels("limited").inc()
            await self._store.put_off(watched, error.detail, 0, watched.failures)
            return min(error.retry_after_seconds or LONGEST_REST_SECONDS, LONGEST_REST_SECONDS)
        except (UpstreamFault, *MISSING) as error:
            await self._put_off(watched, error)
        return PACE_SECONDS

    async def _look(self, watched: Watched) -> None:
        page = await fetch_releases(self._github, watched.repository, watched.validator)
        interval = interval_seconds(watched.subscribers)
        if page is None:
            self._looks.labels("unchanged").inc()
            await self._store.note_unchanged(watched, interval)
            return
        listed = await self._listed(watched, page)
        new = new_releases(listed, set(watched.known_release_ids), watched.watched_since)
        if new and page.may_be_private:
            await check_is_public(self._github, watched.repository)
        known = remembered_ids(listed, watched.known_release_ids)
        await self._store.note_releases(watched, page.validator, known, new, interval)
        self._looks.labels("news" if new else "changed").inc()
        for release in new:
            log.info("release.published", repository=watched.repository, tag=release.tag_name, release_id=release.id)

    async def _listed(self, watched: Watched, page: ReleasePage) -> list[Release]:
        """The releases of the first page, and of those after it as long as all of one are new."""
        listed = list(page.releases)
        known = set(watched.known_release_ids)
        number = 1
        while number < MOST_PAGES and len(page.releases) == PER_PAGE:
            if len(new_releases(page.releases, known, watched.watched_since)) < PER_PAGE:
                break
            number += 1
            following = await fetch_releases(self._github, watched.repository, page=number)
            assert following is not None  # nothing was said to be known
            page = following
            listed += page.releases
        return listed

    async def _put_off(self, watched: Watched, error: ServiceError) -> None:
        failures = watched.failures + 1
        is_missing = isinstance(error, MISSING)
        self._looks.labels("missing" if is_missing else "failed").inc()
        seconds = retry_seconds(failures, is_missing=is_missing)
        await self._store.put_off(watched, error.detail, seconds, min(failures, 1000))
        log.info("release.look_failed", repository=watched.repository, failures=failures, error=error.detail)

"""What every replica learns from the store now and then: the languages of GitHub's menu, and how the pages do."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from github_client.languages import LanguageCatalogue
from github_client.trending.store import TrendingStore
from github_client.trending.stored import TrendingHealth
from service_kit.errors import Unavailable

STALE_SECONDS = 1800.0
"""Two rounds: a page older than this was not renewed when it should have been."""
INTERVAL_SECONDS = 15.0
MENU_EVERY = 4
log = structlog.get_logger()


class TrendingWatch:
    """Keeps the catalogue and the gauges current, and knows what readiness says of the pages."""

    def __init__(
        self,
        store: TrendingStore,
        catalogue: LanguageCatalogue,
        show_health: Callable[[TrendingHealth], None],
        is_well_without_store: Callable[[], bool],
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._show_health = show_health
        self._is_well_without_store = is_well_without_store
        self._health: TrendingHealth | None = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            for turn in range(MENU_EVERY):
                try:
                    await self._look()
                    if turn == 0:
                        await self.load_menu()
                except Unavailable as error:
                    log.debug("trending.store_away", error=error.detail)
                await asyncio.sleep(INTERVAL_SECONDS)

    async def load_menu(self) -> None:
        """Take over the menu that the collector last saw. Raises Unavailable."""
        menu = await self._store.load_menu()
        if menu is not None and not self._catalogue.update(menu):
            log.warning("trending.menu_refused", languages=len(menu))

    async def is_well(self) -> bool:
        """Every warm page came when it was fetched last, and none is old."""
        try:
            health = await self._look()
        except Unavailable:
            return self._is_well_without_store()
        return not health.pages_failing and (health.oldest_seconds or 0) <= STALE_SECONDS

    def details(self) -> dict[str, Any]:
        """The store at a glance, as it was at the last look."""
        told: dict[str, Any] = msgspec.to_builtins(self._health) if self._health else {}
        return told

    async def _look(self) -> TrendingHealth:
        self._health = await self._store.health()
        self._show_health(self._health)
        return self._health

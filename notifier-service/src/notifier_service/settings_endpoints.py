"""The endpoints that the settings name: rows like all others, but without an address; made at the start."""

import asyncio
from collections.abc import Mapping

import msgspec

from notifier_service.channels import Kind
from notifier_service.repeating import Repeating
from notifier_service.settings import NotifierSettings
from service_kit.database import Database
from service_kit.queries import read_queries

QUERIES = read_queries(__file__)


class SettingsEndpoints:
    """Makes the rows once Postgres answers. Its `run` is a background task."""

    def __init__(self, database: Database, kinds: Mapping[str, Kind], settings: NotifierSettings) -> None:
        self._database = database
        self._rows = [
            {"name": name, "channel": channel, "rate_per_second": kind.rate_per_second, "burst": kind.burst}
            for channel, kind in kinds.items()
            for name in kind.from_settings(settings)
        ]
        self.run = Repeating("settings_endpoints", self.make, self._wait).run

    async def make(self) -> None:
        """Make what is new, revive what was disabled, disable what the settings no longer name.

        Raises DatabaseUnavailable, StatementTimeout.
        """
        await self._database.execute(QUERIES["make"], {"rows": msgspec.json.encode(self._rows).decode()})

    async def _wait(self) -> None:
        await asyncio.Event().wait()

"""The watched repositories in Postgres: the statements of store.sql as methods. Each is one transaction."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from github_client.client import Validator
from github_client.releases import Release
from repo_service.release_watch.news import message_body
from service_kit.database import Database
from service_kit.queries import read_queries

LEASE_SECONDS = 120.0
"""Above the longest look: a page of releases, more of them after a burst, the repository itself."""

QUERIES = read_queries(__file__)


class Watched(msgspec.Struct, frozen=True):
    """A repository to be looked at now."""

    repository: str
    next_look_at: datetime
    """The fence."""
    subscribers: int
    watched_since: datetime
    etag: str | None
    credential: str | None
    known_release_ids: list[int]
    failures: int

    @property
    def validator(self) -> Validator | None:
        """What to ask with; None at the first look."""
        return Validator(self.etag, self.credential) if self.etag and self.credential else None


class WatchStore:
    """Every method raises DatabaseUnavailable or StatementTimeout, and bears being run twice."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def follow(self) -> None:
        """Watch what is subscribed to, and nothing else."""
        await self._database.execute(QUERIES["follow"])

    async def claim(self) -> Watched | None:
        """The repository to look at now, if any; no other replica gets it for two minutes."""
        row = await self._database.fetch_one(QUERIES["claim"], {"lease_seconds": LEASE_SECONDS})
        return Watched(*row) if row else None

    async def note_unchanged(self, watched: Watched, interval_seconds: float) -> None:
        """GitHub said that nothing has changed."""
        await self._note("note_unchanged", watched, interval_seconds=interval_seconds)

    async def note_releases(
        self,
        watched: Watched,
        validator: Validator | None,
        known_release_ids: Sequence[int],
        new: Sequence[Release],
        interval_seconds: float,
    ) -> None:
        """Keep what GitHub showed, and enqueue a message for each new release, in one transaction."""
        await self._note(
            "note_releases",
            watched,
            interval_seconds=interval_seconds,
            etag=validator.etag if validator else None,
            credential=validator.credential if validator else None,
            known_release_ids=list(known_release_ids),
            subjects=[f"release:{watched.repository}@{release.id}" for release in new],
            bodies=[msgspec.json.encode(message_body(watched.repository, release)).decode() for release in new],
        )

    async def put_off(self, watched: Watched, error: str, retry_seconds: float, failures: int) -> None:
        """Nothing was learnt; `failures` in a row, this one included."""
        await self._note("put_off", watched, error=error, retry_seconds=retry_seconds, failures=failures)

    async def _note(self, query: str, watched: Watched, **parameters: object) -> None:
        fence = {"repository": watched.repository, "next_look_at": watched.next_look_at}
        await self._database.execute(QUERIES[query], {**fence, **parameters})

"""Copies of GitHub's public answers in Postgres, shared by all replicas, and the lease of who asks for which."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import psycopg2

from github_client.cache import COPY_LIMIT_BYTES, Copy
from github_client.clock import Clock
from github_client.lifetimes import MISSING, Lifetime
from service_kit.database import Database, DatabaseUnavailable, StatementTimeout
from service_kit.errors import Unavailable
from service_kit.queries import read_queries

TIMEOUT_SECONDS = 1.5
"""A copy that takes longer is no help: then GitHub is asked without it."""
LEASE_SECONDS = 5.0
"""Longer than nearly every call to GitHub takes, and short enough to wait out when the replica that asks was killed."""
RETENTION_DAYS = 7
MOST_COPIES = 200_000
"""At some 5 KB each about 1 GB."""
SWEEP_INTERVAL_SECONDS = 600.0
SWEEP_BATCH = 1000

QUERIES = read_queries(__file__)


class Shared(NamedTuple):
    """What the table says of a key: the copy, and whether some replica is asking GitHub for it."""

    copy: Copy | None
    is_leased: bool


class SharedCache:
    """The table `github_answer`. Every method raises DatabaseUnavailable or StatementTimeout."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(self, key: str) -> Shared:
        """The copy and its lease."""
        parameters = {"key": key, "now": self._clock.for_sql()}
        async with _guarded():
            row = await self._database.fetch_one_prepared(QUERIES["read"], QUERIES["prepare_read"], parameters)
        return Shared(self._copy(row), bool(row[-1])) if row else Shared(None, is_leased=False)

    async def claim(self, key: str, lifetime: Lifetime) -> Shared | None:
        """Take the lease to ask GitHub, with the old copy for its ETag.

        None when there is nothing to ask: somebody else asks, or has just done so.
        """
        row = await self._run(
            "claim",
            key=key,
            lease_seconds=LEASE_SECONDS,
            fresh_seconds=lifetime.fresh_seconds,
            missing_fresh_seconds=MISSING.fresh_seconds,
        )
        return Shared(self._copy(row), is_leased=True) if row else None

    async def keep(self, key: str, copy: Copy) -> None:
        """Store an answer and give the lease back."""
        if len(copy.packed) > COPY_LIMIT_BYTES:
            await self.release(key)
            return
        await self._execute(
            "keep",
            key=key,
            status=copy.status,
            body=copy.packed or None,
            etag=copy.etag,
            credential=copy.credential,
            next_page=copy.next_page,
            last_known_page=copy.last_known_page,
            age_seconds=self._clock.seconds() - copy.confirmed_seconds,
        )

    async def confirm(self, key: str, copy: Copy) -> bool:
        """Note that GitHub says the copy with this ETag still holds, and give the lease back.

        False when there is no such copy, after a crash of Postgres for one: then it is to be kept anew.
        """
        age_seconds = self._clock.seconds() - copy.confirmed_seconds
        return bool(await self._execute("confirm", key=key, etag=copy.etag, age_seconds=age_seconds))

    async def release(self, key: str) -> None:
        """Give the lease back without an answer."""
        await self._execute("release", key=key)

    async def forget_old(self) -> int:
        """Delete a batch of what nobody has confirmed for a week or what is beyond the bound; how many went."""
        return await self._execute("forget_old", days=RETENTION_DAYS, most=MOST_COPIES, batch=SWEEP_BATCH)

    async def _run(self, query: str, **parameters: Any) -> Any:
        async with _guarded():
            return await self._database.fetch_one(QUERIES[query], {"now": self._clock.for_sql(), **parameters})

    async def _execute(self, query: str, **parameters: Any) -> int:
        async with _guarded():
            return await self._database.execute(QUERIES[query], {"now": self._clock.for_sql(), **parameters})

    def _copy(self, row: tuple[Any, ...]) -> Copy | None:
        status, body, etag, credential, next_page, last_known_page, confirmed_at, age_seconds, _ = row
        if status is None:
            return None
        return Copy(
            status=status,
            packed=bytes(body or b""),
            as_of=confirmed_at,
            confirmed_seconds=self._clock.seconds() - age_seconds,
            etag=etag,
            credential=credential or "",
            next_page=next_page,
            last_known_page=last_known_page,
        )


async def sweep(shared: SharedCache) -> None:
    """Keep the table within its bounds for ever. Any number of replicas may do so at once."""
    while True:
        await asyncio.sleep(SWEEP_INTERVAL_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - not all at once
        with suppress(Unavailable):  # Postgres is away: the next time
            while await shared.forget_old() == SWEEP_BATCH:
                pass


@asynccontextmanager
async def _guarded() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            yield
    except TimeoutError as error:
        raise StatementTimeout("The shared copies did not come in time.") from error
    except psycopg2.Error as error:  # a standby that only reads, a migration missing: no more use than none
        raise DatabaseUnavailable(f"The shared copies cannot be used: {type(error).__name__}.") from error

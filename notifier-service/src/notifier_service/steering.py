"""What operators do to the queue: hurry, cancel, replay, purge, pause and resume, send a test."""

from collections.abc import AsyncIterator
from enum import StrEnum

import msgspec

from service_kit.database import Database
from service_kit.errors import Conflict, NotFound
from service_kit.queries import read_queries

CHUNK = 500
"""Dead letters moved by one statement: each stays far below the time-out, and progress can be shown."""

QUERIES = read_queries(__file__)


class Pausable(StrEnum):
    """What can be paused."""

    CHANNEL = "channel"
    ENDPOINT = "endpoint"
    SCHEDULE = "schedule"


class Dead(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters: those that fit everything that is given."""

    id: int | None = None
    channel: str | None = None
    endpoint: int | None = None
    topic: str | None = None


class Steering:
    """Every method raises DatabaseUnavailable or StatementTimeout as well."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def retry(self, notification_id: int) -> int:
        """Send a waiting notification now, or a dead one again; return the id under which it goes on.

        A replayed one keeps its idempotency key. Raises Conflict when there is nothing of it to send.
        """
        if await self._database.fetch_all(QUERIES["retry"], {"id": notification_id}):
            return notification_id
        which = Dead(id=notification_id)
        async for replayed in self.replay(which):
            return replayed[0]
        dead, _ = await self.count_dead(which)
        if dead:
            raise Conflict("Its endpoint takes no messages: it is disabled, unconfirmed, or gone.")
        raise Conflict("It neither waits nor is dead.")

    async def cancel(self, notification_id: int) -> None:
        """Send a waiting notification never. Raises NotFound when it does not wait."""
        if await self._database.execute(QUERIES["cancel"], {"id": notification_id}) != 1:
            raise NotFound("No such notification waits; what is being sent cannot be held back.")

    async def count_dead(self, which: Dead) -> tuple[int, int]:
        """How many dead letters that means, and how many of them can be replayed."""
        row = await self._database.fetch_one(QUERIES["count_dead"], msgspec.structs.asdict(which))
        assert row is not None
        return int(row[0]), int(row[1])

    async def replay(self, which: Dead) -> AsyncIterator[list[int]]:
        """Send dead letters again, chunk by chunk: the new deliveries' ids of each. Bears being cut short."""
        while rows := await self._database.fetch_all(
            QUERIES["replay"], {**msgspec.structs.asdict(which), "limit": CHUNK}
        ):
            yield [row[1] for row in rows]

    async def purge(self, which: Dead) -> AsyncIterator[int]:
        """Forget dead letters, chunk by chunk: how many in each."""
        while count := await self._database.execute(
            QUERIES["purge"], {**msgspec.structs.asdict(which), "limit": CHUNK}
        ):
            yield count

    async def pause(self, kind: Pausable, name: str, *, paused: bool) -> None:
        """Pause or resume; an endpoint is named by its id. Raises NotFound."""
        if not await self._database.fetch_all(QUERIES[f"pause_{kind.value}"], {"name": name, "paused": paused}):
            raise NotFound(f"There is no {kind.value} {name}.")

    async def send_test(self, endpoint_id: int) -> int:
        """Enqueue a test message to an endpoint; return its notification's id. Raises NotFound."""
        row = await self._database.fetch_one(QUERIES["send_test"], {"endpoint": endpoint_id})
        if row is None:
            raise NotFound(f"There is no endpoint {endpoint_id}.")
        return int(row[0])

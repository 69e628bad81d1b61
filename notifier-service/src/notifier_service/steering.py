"""What operators do to the queue: hurry, cancel, replay, purge, pause and resume, schedule, send a test."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from notifier_service.schedule import next_tick
from notifier_service.wording import NoWording, word
from service_kit.database import Database
from service_kit.errors import Conflict, InvalidParameter, NotFound, UnprocessableParameter
from service_kit.queries import read_queries

CHUNK = 500
"""Dead letters moved by one statement: each stays far below the time-out, and progress can be shown."""

QUERIES = read_queries(__file__)


class Pausable(StrEnum):
    """What can be paused."""

    CHANNEL = "channel"
    ENDPOINT = "endpoint"
    SCHEDULE = "schedule"
    TEMPLATE = "template"
    """One of WeChat's: everybody who is told with it."""


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

    async def add_schedule(self, name: str, cron: str, time_zone: str, topic: str, body: dict[str, Any]) -> None:
        """Enqueue a message at each tick. Raises InvalidParameter, UnprocessableParameter, Conflict."""
        text = msgspec.json.encode(body).decode()
        if not name:
            raise InvalidParameter("name", "should not be empty.")
        if "\\u0000" in text:
            raise UnprocessableParameter("body", "holds a NUL, which Postgres does not store.")
        try:
            next_at = next_tick(cron, time_zone, datetime.now(UTC))
        except ValueError as error:
            raise InvalidParameter("cron", f"is {error}.") from error
        try:
            word(topic, body, "en")
        except NoWording as error:
            raise UnprocessableParameter("topic", f"cannot have this body: {error}.") from error
        made = await self._database.execute(
            QUERIES["add_schedule"],
            {
                "name": name,
                "cron": cron,
                "time_zone": time_zone,
                "topic": topic,
                "body": text,
                "next_at": next_at,
            },
        )
        if not made:
            raise Conflict(f"There is a schedule {name} already.")

    async def remove_schedule(self, name: str) -> None:
        """Enqueue it no more. Raises NotFound."""
        if not await self._database.execute(QUERIES["remove_schedule"], {"name": name}):
            raise NotFound(f"There is no schedule {name}.")

    async def send_test(self, endpoint_id: int) -> int:
        """Enqueue a test message to an endpoint; return its notification's id. Raises NotFound."""
        row = await self._database.fetch_one(QUERIES["send_test"], {"endpoint": endpoint_id})
        if row is None:
            raise NotFound(f"There is no endpoint {endpoint_id}.")
        return int(row[0])

"""What operators look at: notifications with their tries, how channels, workers and schedules stand."""

from datetime import datetime
from typing import Any

import msgspec

from service_kit.database import Database
from service_kit.errors import NotFound
from service_kit.queries import read_queries

STATES = (
    "waiting", "sending", "held", "delivered", "skipped", "expired", "cancelled", "dead", "replayed",
)  # fmt: skip
PER_PAGE = 30

QUERIES = read_queries(__file__)


class Notification(msgspec.Struct, frozen=True):
    """One message's delivery to one endpoint. Times are UTC."""

    id: int
    state: str
    """One of STATES; a dead one that was replayed goes on as the delivery `replayed_as`."""
    topic: str | None
    """None where the message is forgotten already."""
    subject: str | None
    channel: str
    endpoint_id: int | None
    address: str | None
    """As much of it as may be shown."""
    attempt: int
    created_at: datetime | None
    run_at: datetime | None
    """When it is sent, while it waits."""
    ended_at: datetime | None
    error: str | None
    replayed_as: int | None


class Try(msgspec.Struct, frozen=True):
    """How one try ended."""

    at: datetime
    attempt: int
    outcome: str
    http_status: int | None
    duration_ms: int | None
    provider_id: str | None
    error: str | None
    worker: int | None


class WholeNotification(msgspec.Struct, frozen=True):
    """A notification with its message and its tries, the oldest first."""

    notification: Notification
    idempotency_key: str
    occurrences: int | None
    expires_at: datetime | None
    body: dict[str, Any] | None
    """None where the message is forgotten already."""
    tries: list[Try]


class ChannelState(msgspec.Struct, frozen=True):
    """How a channel stands."""

    name: str
    paused: bool
    due: int
    later: int
    sending: int
    held: int
    oldest_due_seconds: float | None
    dead: int


class Outcome(msgspec.Struct, frozen=True):
    """How many of the newest 10,000 tries ended so."""

    channel: str
    outcome: str
    count: int
    median_ms: int | None


class Stats(msgspec.Struct, frozen=True):
    """The queue at a glance."""

    channels: list[ChannelState]
    newest_tries: list[Outcome]
    messages_to_fan_out: int
    subscriptions: int
    endpoints_active: int
    endpoints_unconfirmed: int
    endpoints_disabled: int
    endpoints_paused: int
    endpoints_resting: int
    workers: int


class WorkerState(msgspec.Struct, frozen=True):
    """A process that delivers."""

    id: int
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_seconds_ago: float
    draining: bool
    sending: int


class ScheduleState(msgspec.Struct, frozen=True):
    """What is enqueued again and again."""

    name: str
    cron: str
    time_zone: str
    topic: str
    next_at: datetime
    paused: bool


class Inspection:
    """Every method raises DatabaseUnavailable or StatementTimeout as well."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def notifications(
        self, *, page: int = 1, state: str | None = None, topic: str | None = None, endpoint: int | None = None
    ) -> tuple[list[Notification], bool]:
        """A page of 30, the newest first, and whether there are more."""
        found = await self._find(
            state=state, topic=topic, endpoint=endpoint, skip=(page - 1) * PER_PAGE, limit=PER_PAGE + 1
        )
        return [one for one, _ in found[:PER_PAGE]], len(found) > PER_PAGE

    async def notification(self, notification_id: int) -> WholeNotification:
        """Raises NotFound."""
        found = await self._find(id=notification_id)
        if not found:
            raise NotFound("There is no such notification, or it is forgotten already.")
        notification, message_id = found[0]
        row = await self._database.fetch_one(QUERIES["body"], {"id": message_id})
        body, occurrences, expires_at = row or (None, None, None)
        tries = await self._database.fetch_all(QUERIES["tries"], {"id": notification_id})
        return WholeNotification(
            notification,
            f"msg_{message_id}_{notification.endpoint_id}",
            occurrences,
            expires_at,
            body,
            [Try(*one) for one in tries],
        )

    async def stats(self) -> Stats:
        """The queue at a glance; the newest tries stand for how it goes."""
        channels = await self._database.fetch_all(QUERIES["channels"])
        outcomes = await self._database.fetch_all(QUERIES["outcomes"])
        totals = await self._database.fetch_one(QUERIES["totals"])
        assert totals is not None
        return Stats([ChannelState(*row) for row in channels], [Outcome(*row) for row in outcomes], *totals)

    async def workers(self) -> list[WorkerState]:
        """Every process that delivers, as far as anybody knows."""
        return [WorkerState(*row) for row in await self._database.fetch_all(QUERIES["workers"])]

    async def schedules(self) -> list[ScheduleState]:
        """By name."""
        return [ScheduleState(*row) for row in await self._database.fetch_all(QUERIES["schedules"])]

    async def _find(
        self,
        *,
        id: int | None = None,
        state: str | None = None,
        topic: str | None = None,
        endpoint: int | None = None,
        skip: int = 0,
        limit: int = 1,
    ) -> list[tuple[Notification, int]]:
        """Each with its message's id."""
        rows = await self._database.fetch_all(
            QUERIES["notifications"],
            {"id": id, "state": state, "topic": topic, "endpoint": endpoint, "skip": skip, "limit": limit},
        )
        return [(Notification(*row[:-1]), row[-1]) for row in rows]

"""The queue in Postgres, as one channel of one worker sees it: the statements of queue.sql as methods."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from notifier_service.endpoints import Endpoints
from notifier_service.models import Claimed, Endpoint, Unreachable
from notifier_service.own_connection import OwnConnection, array_text
from notifier_service.retry import Step, next_step
from service_kit.database import Row
from service_kit.queries import read_queries

WAKE_UP_CHANNEL = "delivery"
"""What `enqueue_notification` notifies."""
LEASE_SECONDS = 60.0
"""Above all that a send may take. It is for what a living worker forgot; a dead one's rows are taken at once."""
FLOOR_SECONDS = 5.0
"""How far behind the newest row it has seen a claim begins to look."""
FULL_LOOK_SECONDS = 2.0
"""How often a claim looks at everything: what was put back, or committed late, lies below the floor."""
UNREADABLE = "the endpoint's address cannot be decrypted with this SECRET_KEY"

PLANNER = "set jit = off; set enable_seqscan = off; set enable_bitmapscan = off; set enable_mergejoin = off"
"""What connections begin with that move deliveries: rows are found by index, one by one. Statistics lag behind a queue
that is empty now and holds 100,000 rows a second later: by them the planner may read all rows at each claim."""

QUERIES = read_queries(__file__)


class Batch(msgspec.Struct):
    """What a claim brought."""

    ready: list[Claimed]
    """To be sent."""
    ended: list[tuple[Claimed, Step]]
    """Not to be sent: past their time, or there is nowhere to send them to."""
    moved: int
    """How many rows the claim moved, those included that were put off for their endpoint's sake."""


class Queue:
    """One channel's way to the queue. Methods raise DatabaseUnavailable, StatementTimeout."""

    def __init__(self, connection: OwnConnection, endpoints: Endpoints, channel: str) -> None:
        self._connection = connection
        self._endpoints = endpoints
        self._channel = channel
        self._floor = 0.0
        self._look_at = 0.0

    async def claim(self, worker: int, limit: int) -> Batch:
        """Take at most `limit` due deliveries under a lease; those whose endpoint rests or has no slot are put off."""
        now = time.monotonic()
        looks_at_all = now >= self._look_at
        rows = await self._connection.rows(
            QUERIES["claim"].format(limit=int(limit)),
            {
                "channel": self._channel,
                "floor": 0.0 if looks_at_all else self._floor - FLOOR_SECONDS,
                "worker": worker,
                "lease_seconds": LEASE_SECONDS,
            },
        )
        if looks_at_all and len(rows) < limit:
            self._look_at = now + FULL_LOOK_SECONDS
        if not rows:
            return Batch([], [], 0)
        self._floor = max(self._floor, rows[-1][-1])
        await self._endpoints.refresh({row[9]: row[10] for row in rows if row[10] is not None})
        return await self._take_slots(self._read(rows))

    def _read(self, rows: list[Row]) -> tuple[Batch, list[Claimed]]:
        """The rows as deliveries, and those among the ready ones that must ask for a slot."""
        batch = Batch([], [], len(rows))
        asking: list[Claimed] = []
        bodies: dict[int, dict[str, Any]] = {}
        claimed_at = time.monotonic()
        for row in rows:
            (
                id_, attempt, failures, message_id, topic, body, occurrences, created_at, is_expired,
                endpoint_id, _version, state, endpoint_failures, needs_slot, is_held, waited, age, _run_at,
            ) = row  # fmt: skip
            if is_held:
                continue
            content = bodies.get(message_id)
            if content is None:
                content = bodies[message_id] = {} if body is None else msgspec.json.decode(body)
            endpoint = self._endpoints.known(endpoint_id)
            claimed = Claimed(
                id_,
                attempt,
                message_id,
                topic,
                content,
                occurrences,
                created_at,
                endpoint or Endpoint.missing(endpoint_id, self._channel),
                failures,
                endpoint_failures or 0,
                waited,
                age,
                claimed_at,
            )
            if is_expired:
                batch.ended.append((claimed, Step("expired", error="past its time")))
            elif body is None or state is None:
                batch.ended.append((claimed, Step("cancelled", error="its message or endpoint is gone")))
            elif state != "active":
                batch.ended.append((claimed, Step("dead", error=f"the endpoint is {state}")))
            elif endpoint is None:
                batch.ended.append((claimed, next_step(Unreachable(UNREADABLE), failures + 1, age)))
            else:
                batch.ready.append(claimed)
                if needs_slot:
                    asking.append(claimed)
        return batch, asking

    async def _take_slots(self, read: tuple[Batch, list[Claimed]]) -> Batch:
        batch, asking = read
        if asking:
            rows = await self._connection.rows(
                QUERIES["take_slots"], {**_fences(asking), "endpoints": array_text([one.endpoint.id for one in asking])}
            )
            put_off = {row[0] for row in rows}
            batch.ready = [one for one in batch.ready if one.id not in put_off]
        return batch

    async def hand_back(self, deliveries: Sequence[Claimed]) -> None:
        """Make deliveries that nobody began to send ready for others."""
        await self._connection.rows(QUERIES["hand_back"], _fences(deliveries))

    async def put_off(self, deliveries: Sequence[Claimed]) -> None:
        """Let deliveries wait whose endpoints are slow, and the endpoints rest, for a moment in which others come."""
        await self._connection.rows(
            QUERIES["put_off"], {**_fences(deliveries), "endpoints": sorted({one.endpoint.id for one in deliveries})}
        )

    async def seconds_to_next(self) -> float | None:
        """In how long the channel's next delivery is due that is not yet; None when there is none."""
        rows = await self._connection.rows(QUERIES["next_run"], {"channel": self._channel})
        return float(rows[0][0]) if rows else None


def _fences(deliveries: Sequence[Claimed]) -> dict[str, str]:
    return {
        "ids": array_text([one.id for one in deliveries]),
        "attempts": array_text([one.attempt for one in deliveries]),
    }

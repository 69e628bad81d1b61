"""The queue in Postgres, as one channel of one worker sees it: the statements of queue.sql as methods."""

import time
from collections.abc import Sequence

import msgspec

from notifier_service.claim_answer import Batch, ClaimAnswer
from notifier_service.endpoints import Endpoints
from notifier_service.models import Claimed
from notifier_service.own_connection import OwnConnection, array_text
from service_kit.queries import read_queries

WAKE_UP_CHANNEL = "delivery"
"""What `enqueue_notification` notifies."""
LEASE_SECONDS = 60.0
"""Above all that a send may take. It is for what a living worker forgot; a dead one's rows are taken at once."""
FLOOR_SECONDS = 2.0
"""How far behind the newest row it has seen a claim begins to look."""
FULL_LOOK_SECONDS = 2.0
"""How often a claim looks at everything: what was put back, or committed late, lies below the floor."""
FULL_LOOK_PAUSES = 50
"""Less often where it takes long, as while an old snapshot is held: a fiftieth of the time."""
LONGEST_FULL_LOOK_SECONDS = 10.0
PLANNER = (
    "set jit = off; set enable_seqscan = off; set enable_bitmapscan = off; set enable_mergejoin = off;"
    " set plan_cache_mode = force_generic_plan"
)
"""What connections begin with that move deliveries: rows are found by index, one by one, and what is prepared is
planned once. Statistics lag behind a queue that is empty now and holds 100,000 rows a second later: by them the planner
may read all rows at each claim."""

QUERIES = read_queries(__file__)
_ANSWER = msgspec.json.Decoder(ClaimAnswer)


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
        rows = await self._connection.prepared_rows(
            QUERIES["claim"],
            {
                "limit": limit,
                "channel": self._channel,
                "floor": 0.0 if looks_at_all else self._floor - FLOOR_SECONDS,
                "worker": worker,
                "lease_seconds": LEASE_SECONDS,
            },
        )
        answer = _ANSWER.decode(rows[0][0]) if rows else None
        if looks_at_all and (answer is None or len(answer.ids) < limit):
            pause = max(FULL_LOOK_SECONDS, FULL_LOOK_PAUSES * (time.monotonic() - now))
            self._look_at = now + min(pause, LONGEST_FULL_LOOK_SECONDS)
        if answer is None:
            return Batch([], [], 0)
        self._floor = max(self._floor, answer.last_run_at)
        await self._endpoints.refresh(answer.versions)
        batch, asking = answer.read(self._channel, self._endpoints.known, time.monotonic())
        if asking:
            put_off = await self._take_slots(asking)
            batch.ready = [one for one in batch.ready if one.id not in put_off]
        return batch

    async def _take_slots(self, asking: Sequence[Claimed]) -> set[int]:
        """Reserve slots; return which deliveries have theirs later."""
        rows = await self._connection.rows(
            QUERIES["take_slots"], {**_fences(asking), "endpoints": array_text([one.endpoint.id for one in asking])}
        )
        return {row[0] for row in rows}

    async def begin(self, claimed: Claimed) -> bool:
        """Note that a delivery is about to be sent; False when another one has it."""
        return bool(await self._connection.rows(QUERIES["begin"], {"id": claimed.id, "attempt": claimed.attempt}))

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
        rows = await self._connection.prepared_rows(QUERIES["next_run"], {"channel": self._channel})
        return float(rows[0][0]) if rows else None


def _fences(deliveries: Sequence[Claimed]) -> dict[str, str]:
    return {
        "ids": array_text([one.id for one in deliveries]),
        "attempts": array_text([one.attempt for one in deliveries]),
    }

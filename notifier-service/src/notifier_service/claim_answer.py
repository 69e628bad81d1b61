"""What a claim answers: one JSON document of columns, read into deliveries. Pure.

By columns, and each message and endpoint once: rows of so many fields cost server, driver and us more than their claim.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from notifier_service.models import Claimed, Endpoint, Unreachable
from notifier_service.retry import Step, next_step

UNREADABLE = "the endpoint's address cannot be decrypted with this SECRET_KEY"


class Batch(msgspec.Struct):
    """What a claim brought."""

    ready: list[Claimed]
    """To be sent."""
    ended: list[tuple[Claimed, Step]]
    """Not to be sent: past their time, or there is nowhere to send them to."""
    moved: int
    """How many rows the claim moved, those included that were put off for their endpoint's sake."""


class Messages(msgspec.Struct):
    """Columns of those that still exist."""

    ids: list[int]
    topics: list[str]
    bodies: list[dict[str, Any]]
    occurrences: list[int]
    created_at: list[datetime]
    are_expired: list[bool]

    def by_id(self) -> "dict[int, tuple[str, dict[str, Any], int, datetime, bool]]":
        """All but the id, by it."""
        columns = (self.topics, self.bodies, self.occurrences, self.created_at, self.are_expired)
        return dict(zip(self.ids, zip(*columns, strict=True), strict=True))


class Places(msgspec.Struct):
    """Columns of the endpoints that still exist."""

    ids: list[int]
    versions: list[int]
    states: list[str]
    failures: list[int]
    have_rates: list[bool]

    def by_id(self) -> dict[int, tuple[str | None, int, bool]]:
        """State, failures in a row, and whether it has a rate, by id."""
        return dict(zip(self.ids, zip(self.states, self.failures, self.have_rates, strict=True), strict=True))


GONE: tuple[str, dict[str, Any], int, datetime, bool] = ("", {}, 1, datetime.fromtimestamp(0, UTC), False)
"""What stands for a message that is no more."""
NOWHERE = (None, 0, False)
"""What stands for an endpoint that is no more."""


class ClaimAnswer(msgspec.Struct):
    """Columns of what was claimed, the longest due first, with its messages and endpoints."""

    ids: list[int]
    attempts: list[int]
    failures: list[int]
    message_ids: list[int]
    endpoint_ids: list[int]
    are_held: list[bool]
    are_in_slot: list[bool]
    """Whether it is their turn by their endpoint's rate."""
    waited_seconds: list[float]
    ages_seconds: list[float]
    suspects: list[int]
    """The ids of those with which a worker has vanished."""
    last_run_at: float
    """Seconds since 1970."""
    messages: Messages | None
    places: Places | None

    @property
    def versions(self) -> dict[int, int]:
        """Which version each endpoint has."""
        return dict(zip(self.places.ids, self.places.versions, strict=True)) if self.places else {}

    def read(
        self, channel: str, known: Callable[[int], Endpoint | None], claimed_at: float
    ) -> tuple[Batch, list[Claimed]]:
        """As deliveries, and those among the ready ones that must ask for a slot; `known` gives endpoints by id."""
        batch = Batch([], [], len(self.ids))
        asking: list[Claimed] = []
        suspects = set(self.suspects)
        messages = self.messages.by_id() if self.messages else {}
        places = self.places.by_id() if self.places else {}
        for id_, attempt, failures, message_id, endpoint_id, is_held, is_in_slot, waited, age in zip(
            self.ids, self.attempts, self.failures, self.message_ids, self.endpoint_ids, self.are_held,
            self.are_in_slot, self.waited_seconds, self.ages_seconds, strict=True,
        ):  # fmt: skip
            if is_held:
                continue
            topic, body, occurrences, created_at, is_expired = messages.get(message_id, GONE)
            state, endpoint_failures, has_rate = places.get(endpoint_id, NOWHERE)
            endpoint = known(endpoint_id)
            claimed = Claimed(
                id_, attempt, message_id, topic, body, occurrences, created_at,
                endpoint or Endpoint.missing(endpoint_id, channel),
                failures, endpoint_failures, waited, age, claimed_at, id_ in suspects,
            )  # fmt: skip
            if is_expired:
                batch.ended.append((claimed, Step("expired", error="past its time")))
            elif message_id not in messages or state is None:
                batch.ended.append((claimed, Step("cancelled", error="its message or endpoint is gone")))
            elif state != "active":
                batch.ended.append((claimed, Step("dead", error=f"the endpoint is {state}")))
            elif endpoint is None:
                batch.ended.append((claimed, next_step(Unreachable(UNREADABLE), failures + 1, age)))
            else:
                batch.ready.append(claimed)
                if has_rate and not is_in_slot:
                    asking.append(claimed)
        return batch, asking

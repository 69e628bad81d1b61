"""What the notifier handles: a claimed delivery, and what a channel says became of it. Pure."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from pydantic import SecretStr


class Endpoint(msgspec.Struct, frozen=True):
    """One place to deliver to, as its channel needs it."""

    id: int
    channel: str
    address: SecretStr | None
    """None where the settings hold it."""
    secret: SecretStr | None
    """What its messages are signed with; None where nothing is signed."""
    config: dict[str, Any]
    language: Literal["en", "zh"]
    name: str | None = None

    @staticmethod
    def missing(id_: int, channel: str) -> "Endpoint":
        """Stands where an endpoint is gone or cannot be read: nothing is sent to it."""
        return Endpoint(id_, channel, None, None, {}, "en")


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """A delivery that this worker holds under a lease, with its message and its endpoint."""

    id: int
    attempt: int
    """From 1; the fence: only this attempt may be finished with it."""
    message_id: int
    topic: str
    body: dict[str, Any]
    occurrences: int
    """How often it happened until the claim."""
    created_at: datetime
    """When the message was enqueued (UTC)."""
    endpoint: Endpoint
    failures: int = 0
    """Tries before this one that count against the delivery."""
    endpoint_failures: int = 0
    """Failed tries in a row at its endpoint, as of the claim."""
    waited_seconds: float = 0.0
    """How long it had been due when it was claimed."""
    age_seconds: float = 0.0
    """How long ago the delivery was made, as of the claim."""
    claimed_at: float = 0.0
    """When it was claimed, by the process's monotonic clock."""
    is_suspect: bool = False
    """A worker has vanished with it: that it is begun is noted first, so that the next one's end is known to count."""

    @property
    def idempotency_key(self) -> str:
        """The same over every try and replay, so that a receiver can recognise a repetition."""
        return f"msg_{self.message_id}_{self.endpoint.id}"


class Delivered(msgspec.Struct, frozen=True):
    """The receiver took it."""

    http_status: int | None = None
    provider_id: str | None = None
    """What the receiver calls it."""


class Skipped(msgspec.Struct, frozen=True):
    """The channel is not set up: there is nobody to tell."""

    reason: str


class Rejected(msgspec.Struct, frozen=True):
    """The receiver will never take it."""

    reason: str
    http_status: int | None = None
    disable_endpoint: bool = False
    """Nor anything else: its endpoint gets no more deliveries."""


Answer = Delivered | Skipped | Rejected


class Unreachable(Exception):
    """The receiver could not be told this time; a later try may succeed."""

    def __init__(
        self,
        reason: str,
        *,
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
        counts: bool = True,
        blames_endpoint: bool = True,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds
        """How long the receiver asked to be left alone; None when it did not."""
        self.counts = counts and retry_after_seconds is None
        """Whether this try brings the delivery nearer to being given up."""
        self.blames_endpoint = blames_endpoint
        """Whether it tells that the endpoint is failing, as for all of its other deliveries."""

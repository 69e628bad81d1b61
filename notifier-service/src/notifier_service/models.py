"""What the notifier handles: a claimed delivery, and what a channel says became of it. Pure."""

from typing import Any

import msgspec


class Claimed(msgspec.Struct, frozen=True):
    """A delivery that this worker holds under a lease, with its message."""

    id: int
    message_id: int
    attempt: int
    """From 1; the fence: only this attempt may be finished with it."""
    topic: str
    body: dict[str, Any]
    occurrences: int
    """How often it happened until the claim."""


class Delivered(msgspec.Struct, frozen=True):
    """The receiver took it."""

    http_status: int


class Skipped(msgspec.Struct, frozen=True):
    """The channel is not set up: there is nobody to tell."""

    reason: str


class Rejected(msgspec.Struct, frozen=True):
    """The receiver will never take it."""

    reason: str
    http_status: int | None = None


Answer = Delivered | Skipped | Rejected


class Unreachable(Exception):
    """The receiver could not be told this time; a later try may succeed."""

    def __init__(
        self, reason: str, *, http_status: int | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds
        """How long the receiver asked to be left alone; None when it did not."""

"""Primary rate limits: how much each caller has used of each bucket, on a clock that is handed in."""

from dataclasses import dataclass
from typing import Literal

Bucket = Literal["core", "search"]
WINDOW_SECONDS: dict[Bucket, int] = {"core": 3600, "search": 60}
BUDGETS: dict[Bucket, tuple[int, int]] = {"core": (60, 5000), "search": (10, 30)}
"""Requests per window without and with a credential (docs: rate limits for the REST API)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The state of one bucket of one caller; `reset` in Unix seconds."""

    bucket: Bucket
    limit: int
    used: int
    reset: int
    is_exceeded: bool = False
    """True for the request that found nothing left; it does not count."""

    @property
    def remaining(self) -> int:
        """Requests left until the reset."""
        return self.limit - self.used

    def headers(self) -> dict[str, str]:
        """As GitHub tells it with each answer."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset),
            "X-RateLimit-Used": str(self.used),
            "X-RateLimit-Resource": self.bucket,
        }


class Limits:
    """A window opens with the first request in it and ends a fixed time later, whatever comes in between."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, Bucket], tuple[int, int]] = {}

    def look(self, identity: str, bucket: Bucket, *, has_credential: bool, now_seconds: float) -> Usage:
        """The state, without counting anything."""
        used, reset = self._windows.get((identity, bucket), (0, 0))
        if now_seconds >= reset:
            used, reset = 0, int(now_seconds) + WINDOW_SECONDS[bucket]
        return Usage(bucket, BUDGETS[bucket][has_credential], used, reset)

    def count(self, identity: str, bucket: Bucket, *, has_credential: bool, now_seconds: float) -> Usage:
        """Count one request, unless nothing is left; the state after it."""
        before = self.look(identity, bucket, has_credential=has_credential, now_seconds=now_seconds)
        if before.remaining <= 0:
            return Usage(bucket, before.limit, before.used, before.reset, is_exceeded=True)
        self._windows[identity, bucket] = (before.used + 1, before.reset)
        return Usage(bucket, before.limit, before.used + 1, before.reset)

    def give_back(self, identity: str, usage: Usage) -> Usage:
        """Take back a request that turned out to be free (304); the state after it."""
        self._windows[identity, usage.bucket] = (usage.used - 1, usage.reset)
        return Usage(usage.bucket, usage.limit, usage.used - 1, usage.reset)

    def clear(self) -> None:
        """Everybody begins afresh."""
        self._windows.clear()

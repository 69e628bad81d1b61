"""Retry rules: what follows from the way a try ended. Pure."""

import random
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

from notifier_service.models import Answer, Delivered, Rejected, Skipped, Unreachable

MOST_ATTEMPTS = 12
"""With the pauses below a delivery is given up after about half an hour, at the latest after 66 minutes."""
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 900.0
LONGEST_RETRY_AFTER_SECONDS = 3600.0

Outcome = Literal["delivered", "skipped", "failed", "dead"]


class Step(msgspec.Struct, frozen=True):
    """What to do with a delivery whose try ended, and what its record says."""

    outcome: Outcome
    http_status: int | None = None
    error: str | None = None
    retry_in_seconds: float | None = None
    """When to try again; None when the outcome is final."""


def next_step(ending: Answer | Unreachable, attempt: int, chance: float | None = None) -> Step:
    """The step after a try; `attempt` counts from 1, `chance` (0..1) replaces the random number."""
    match ending:
        case Delivered(http_status, _):
            return Step("delivered", http_status)
        case Skipped(reason):
            return Step("skipped", error=reason)
        case Rejected(reason, http_status, _):
            return Step("dead", http_status, reason)
        case Unreachable():
            if attempt >= MOST_ATTEMPTS:
                return Step("dead", ending.http_status, ending.reason)
            pause = pause_seconds(attempt, chance)
            if ending.retry_after_seconds is not None:
                # On top, so that what was put off together does not come back together.
                pause = ending.retry_after_seconds + min(pause, 1.0)
            return Step("failed", ending.http_status, ending.reason, pause)


def pause_seconds(attempt: int, chance: float | None = None) -> float:
    """Full jitter between 0 and 5 s · 2^(attempt-1), at most 15 minutes."""
    ceiling: float = min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
    return ceiling * (random.random() if chance is None else chance)  # noqa: S311 - jitter, not a secret


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """What `Retry-After` asks for (RFC 9110, 10.2.3: seconds or a date), at most an hour; None if absent or broken.

    `now` is aware.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_RETRY_AFTER_SECONDS)
    try:
        seconds = (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):  # TypeError: a date without a time zone
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)

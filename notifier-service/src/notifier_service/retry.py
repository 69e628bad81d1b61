"""Retry rules: what follows from the way a try ended, by its class. Pure."""

import random
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

from notifier_service.models import Answer, Delivered, Rejected, Skipped, Unreachable

PAUSES_SECONDS = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 10800.0, 21600.0, 43200.0, 86400.0, 86400.0)
"""At most so long before the next try, by the failures so far: three days or so, as webhook senders have it."""
MOST_FAILURES = len(PAUSES_SECONDS) + 1
LONGEST_AGE_SECONDS = 7 * 86400.0
"""Given up after that, also where tries do not count: a receiver may put off for ever."""
LONGEST_RETRY_AFTER_SECONDS = 3600.0

Outcome = Literal["delivered", "skipped", "failed", "limited", "dead", "expired", "cancelled"]


class Step(msgspec.Struct, frozen=True, gc=False):
    """What to do with a delivery whose try ended, what its record says, and what it says of the endpoint."""

    outcome: Outcome
    http_status: int | None = None
    error: str | None = None
    retry_in_seconds: float | None = None
    """When to try again; None when the outcome is final."""
    counts: bool = True
    """Whether it brings the delivery nearer to being given up."""
    endpoint: Literal["well", "failing", "limited", "gone"] | None = None
    """What the try tells of the endpoint; `limited`: as failing, and to be left alone for retry_in_seconds."""
    provider_id: str | None = None


def next_step(
    ending: Answer | Unreachable, failures: int, age_seconds: float = 0.0, chance: float | None = None
) -> Step:
    """The step after a try.

    `failures` counts this one, should it be one, `age_seconds` is the delivery's, and `chance` (0..1) replaces the
    random number.
    """
    match ending:
        case Delivered(http_status, provider_id):
            return Step("delivered", http_status, endpoint="well", provider_id=provider_id)
        case Skipped(reason):
            return Step("skipped", error=reason)
        case Rejected(reason, http_status, disable_endpoint):
            # One message that is refused tells nothing of the others; the receiver did answer.
            judgement: Literal["gone", "well"] = "gone" if disable_endpoint else "well"
            return Step("dead", http_status, reason, endpoint=judgement)
        case Unreachable():
            return _later(ending, failures, age_seconds, chance)


def _later(ending: Unreachable, failures: int, age_seconds: float, chance: float | None) -> Step:
    if (ending.counts and failures >= MOST_FAILURES) or age_seconds >= LONGEST_AGE_SECONDS:
        return Step("dead", ending.http_status, ending.reason, endpoint=_judgement(ending))
    pause = pause_seconds(failures, chance)
    if ending.retry_after_seconds is not None:
        # On top, so that what was put off together does not come back together.
        pause = ending.retry_after_seconds + min(pause, 1.0)
    return Step(
        "failed" if ending.counts else "limited",
        ending.http_status,
        ending.reason,
        pause,
        counts=ending.counts,
        endpoint=_judgement(ending),
    )


def _judgement(ending: Unreachable) -> Literal["failing", "limited"] | None:
    if ending.retry_after_seconds is not None:
        return "limited"
    return "failing" if ending.counts and ending.blames_endpoint else None


def pause_seconds(failures: int, chance: float | None = None) -> float:
    """Full jitter: anything between 0 and the pause of so many failures, at least one."""
    ceiling = PAUSES_SECONDS[min(max(failures, 1), len(PAUSES_SECONDS)) - 1]
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

"""What a shared cache may keep, and for how long (RFC 9111, RFC 5861). Pure.

Stricter than the RFC where that is safer: without a lifetime of its own nothing is kept (no heuristics), nothing with
`Set-Cookie` or for a request with `Authorization`, and nothing that depends on a request header other than `Accept`.
"""

from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple

STORABLE_STATUSES = frozenset({200, 203, 204, 301, 308, 404, 410})
"""Complete answers that mean the same to everybody; what went wrong is asked for again."""
LONGEST_SECONDS = 7 * 86_400
"""No lifetime is believed beyond this: a mistake of one service should not outlive a week."""
_SELECTING = frozenset({"accept", "accept-encoding", "authorization", "cookie"})
"""What an answer may vary by: nothing with the last two is kept, and encodings are made here."""
_FORBIDDING = frozenset({"no-store", "private", "no-cache"})
_INSISTING = frozenset({"must-revalidate", "proxy-revalidate", "s-maxage"})


class Lifetime(NamedTuple):
    """How long an answer may be reused, all in seconds; the last two count from the end of the first."""

    age: float
    """How old it was when it arrived."""
    fresh: int
    while_revalidated: int
    if_error: int


def parse_cache_control(fields: Iterable[str]) -> dict[str, str]:
    """Directives by lower-case name; one without a value has "". Of one that is given twice the first is taken."""
    directives: dict[str, str] = {}
    for field in fields:
        for part in _split(field):
            name, _, value = part.partition("=")
            directives.setdefault(name.strip().lower(), value.strip().strip('"'))
    return directives


@lru_cache(maxsize=512)
def _directives(fields: tuple[str, ...]) -> Mapping[str, str]:
    return parse_cache_control(fields)


def _split(field: str) -> Iterable[str]:
    if '"' not in field:
        return field.split(",")
    parts, current, is_quoted = [], "", False
    for character in field:
        is_quoted ^= character == '"'
        if character == "," and not is_quoted:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]


def lifetime_of(
    status: int, headers: Iterable[tuple[str, str]], *, now: float, delay_seconds: float
) -> Lifetime | None:
    """How long a shared cache may keep this answer to a GET; None when not at all.

    `headers` as they came; `now` is when it had come (POSIX, seconds), `delay_seconds` how long it was waited for.
    """
    if status not in STORABLE_STATUSES:
        return None
    headers = tuple(headers)
    directives = _directives(
        tuple([value for name, value in headers if len(name) == 13 and name.lower() == "cache-control"])
    )
    if not _FORBIDDING.isdisjoint(directives):
        return None
    fields = _by_name(headers)
    if "set-cookie" in fields or "content-encoding" in fields or "content-range" in fields:
        return None
    if not set(vary_of(fields)) <= _SELECTING:
        return None
    fresh = _seconds(directives.get("s-maxage", directives.get("max-age", "")))
    if fresh is None:
        return None
    is_insisting = not _INSISTING.isdisjoint(directives)
    return Lifetime(
        age=_initial_age(fields, now, delay_seconds),
        fresh=fresh,
        while_revalidated=0 if is_insisting else _seconds(directives.get("stale-while-revalidate", "")) or 0,
        if_error=0 if is_insisting else _seconds(directives.get("stale-if-error", "")) or 0,
    )


def updated(stored: list[tuple[str, str]], said: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of a kept answer that a 304 with these has confirmed (RFC 9111, 3.2): its body's stay as they are."""
    new = [(name, value) for name, value in said if not name.lower().startswith("content-")]
    named = {name.lower() for name, _ in new}
    return [*((name, value) for name, value in stored if name.lower() not in named), *new]


def vary_of(fields: Mapping[str, list[str]]) -> list[str]:
    """The request headers that an answer varies by, in lower case."""
    return [name for field in fields.get("vary", ()) for one in field.split(",") if (name := one.strip().lower())]


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(value)
    return fields


def _seconds(text: str) -> int | None:
    return min(int(text[:10]), LONGEST_SECONDS) if text.isascii() and text.isdigit() else None


def _initial_age(fields: Mapping[str, list[str]], now: float, delay_seconds: float) -> float:
    """RFC 9111, 4.2.3: the larger of what `Age` and what `Date` say."""
    said = _seconds(fields.get("age", [""])[0]) or 0
    sent_at = _timestamp(fields["date"][0][:64]) if "date" in fields else None
    return max(0.0 if sent_at is None else now - sent_at, said + delay_seconds, 0.0)


@lru_cache(maxsize=64)
def _timestamp(http_date: str) -> float | None:
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, OverflowError):
        return None

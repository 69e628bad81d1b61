"""GitHub's HTTP rules: `Link` headers, rate limits in all their forms, names and tokens that can exist. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,38})(?:\[bot\])?")
"""Letters, digits and hyphens, at most 39; underscores since enterprise-managed users; apps end in `[bot]`."""
REPOSITORY_NAME = re.compile(r"(?!\.{1,2}$)(?!.*\.git$)[A-Za-z0-9._-]{1,100}", re.IGNORECASE)
TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,255}")
"""GitHub asks to be ready for 255 characters (changelog of 2021-03-04); which ones are good only `/user` can tell."""

SECONDARY_LIMIT_SECONDS = 60
"""GitHub: wait at least a minute where a secondary limit does not say how long (docs, rate limits)."""
LONGEST_WAIT_SECONDS = 86_400
_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"[^"]*"|[^\s;,"]+))*)')
_RELATION = re.compile(r';\s*rel\s*=\s*"?([^";,]+)"?', re.IGNORECASE)


class Limit(msgspec.Struct, frozen=True):
    """Why a credential has to rest. `primary`: its budget is spent; `secondary`: too much at a time; `refused`: 401."""

    kind: Literal["primary", "secondary", "refused"]
    retry_after_seconds: int
    is_stated: bool = True
    """False where GitHub did not say how long."""


def parse_links(header: str | None) -> dict[str, str]:
    """The targets of a `Link` header by relation (RFC 8288). Anything unreadable is left out."""
    return {
        relation.lower(): target
        for target, parameters in _LINK.findall(header or "")
        for found in _RELATION.findall(parameters)
        for relation in found.split()
    }


def page_of(target: str | None) -> int | None:
    """The `page` parameter of a link's target, None where it has none (cursors, other hosts' forms)."""
    pages = parse_qs(urlsplit(target or "").query).get("page", [])
    return int(pages[-1]) if pages and pages[-1].isascii() and pages[-1].isdigit() else None


def last_known_page(page: int, links: Mapping[str, str]) -> int:
    """The highest page that an answer to `page` tells of: `last`, else the one that `next` names, else this one.

    This is the original client's `Max-Page`: event lists have only `next`, and the last page has neither.
    """
    last, following = page_of(links.get("last")), page_of(links.get("next"))
    return max(page, last or 0, following or 0)


def recognise_limit(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Limit | None:
    """Tell whether an answer means that a rate limit was reached, and when to come back; None if it does not.

    `headers` is case-insensitive. Sources: GitHub's "rate limits for the REST API" and recorded answers: 403 or 429;
    `x-ratelimit-remaining: 0`; `retry-after` in seconds or as a date; `gh-limited-by`; or the body's words alone.
    """
    if status not in {403, 429}:
        return None
    stated = _retry_after_seconds(headers.get("Retry-After"), now)
    reset = headers.get("X-RateLimit-Reset", "")
    until_reset = int(int(reset) - now.timestamp()) + 1 if reset.isascii() and reset.isdigit() else None
    words = body[:2000].lower()
    if headers.get("X-RateLimit-Remaining") == "0":
        return Limit("primary", _bounded(stated or until_reset or SECONDARY_LIMIT_SECONDS))
    if stated is not None:
        return Limit("secondary", _bounded(stated))
    if status == 429 or "gh-limited-by" in headers or b"secondary rate limit" in words or b"abuse" in words:
        return Limit("secondary", SECONDARY_LIMIT_SECONDS, is_stated=False)
    if b"rate limit exceeded" in words:
        return Limit("primary", _bounded(until_reset or SECONDARY_LIMIT_SECONDS))
    return None


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """The `Date` of an answer, None where it has none that can be read."""
    try:
        when = parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return None
    return when.replace(tzinfo=when.tzinfo or UTC)


def _retry_after_seconds(value: str | None, now: datetime) -> int | None:
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return int(value[:9])
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return int((when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds()) + 1


def _bounded(seconds: int) -> int:
    return min(max(seconds, 1), LONGEST_WAIT_SECONDS)

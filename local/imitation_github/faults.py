"""Faults on demand: which requests they meet, and what those get instead of an answer."""

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from local.imitation_github.answers import encode, standard_headers

KINDS = ("status", "slow", "cut_body", "html_body", "reset", "primary_limit", "secondary_limit")
PAGE_KINDS = {
    "empty_trending": "/trending",
    "renamed_classes": "/trending",
    "no_stars": "/trending",
    "incomplete_results": "/search/",
}
"""Faults of one kind of page, and where those pages are."""
VARIANTS = ("retry_after", "retry_after_date", "gh_limited_by", "no_retry_after", "body_only", "abuse")
SERVER_ERROR = 502
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
_HTML = b"<html><body><h1>503 Service Unavailable</h1>No server is available to handle this request.</body></html>"


@dataclass(slots=True)
class Fault:
    """One fault; it ends after `count` requests, or when it is cleared."""

    match: str
    """Where a request's target (path and query) begins; a regular expression to be found in it if it starts with ^."""
    kind: str
    count: int | None = None
    status: int | None = None
    seconds: float = 3600.0
    """How long `slow` waits, or until when a limit lasts; a limit's default is 60."""
    variant: str = VARIANTS[0]
    """The form of a secondary limit."""
    hits: int = 0

    def meets(self, target: str) -> bool:
        """Whether it is still on, and for this request."""
        if self.count is not None and self.hits >= self.count:
            return False
        if not target.startswith(PAGE_KINDS.get(self.kind, "/")):
            return False
        return bool(re.search(self.match, target)) if self.match.startswith("^") else target.startswith(self.match)


def fault_from(body: object) -> Fault:
    """Read a fault from JSON. Raises ValueError that says what is wrong."""
    if not isinstance(body, Mapping):
        raise ValueError("a fault is an object")
    if unknown := set(body) - {"match", "kind", "count", "status", "seconds", "variant"}:
        raise ValueError(f"unknown: {', '.join(sorted(map(str, unknown)))}")
    kind, match = body.get("kind"), body.get("match", "/")
    if kind not in (*KINDS, *PAGE_KINDS):
        raise ValueError(f"kind: one of {', '.join((*KINDS, *PAGE_KINDS))}")
    if not isinstance(match, str) or not match.startswith(("/", "^")):
        raise ValueError("match: should begin with / (a prefix) or ^ (a regular expression)")
    try:
        re.compile(match)
    except re.error as error:
        raise ValueError(f"match: {error}") from None
    numbers: dict[str, Any] = {}
    for name, least, most in (("count", 1, 10**6), ("status", 200, 599), ("seconds", 0, 86_400)):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float) if name == "seconds" else int):
            raise ValueError(f"{name}: should be a number")
        if not least <= value <= most:
            raise ValueError(f"{name}: should be from {least} to {most}")
        numbers[name] = value
    variant = body.get("variant", VARIANTS[0])
    if variant not in VARIANTS:
        raise ValueError(f"variant: one of {', '.join(VARIANTS)}")
    if kind in {"primary_limit", "secondary_limit"}:
        numbers.setdefault("seconds", 60)
    return Fault(match=match, kind=kind, variant=variant, **numbers)


class Faults:
    """The faults that are on, the oldest first: it is the first that fits which happens."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._cleared = asyncio.Event()

    def add(self, fault: Fault) -> None:
        """Turn a fault on."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Turn all off; what a slow one holds up goes on at once."""
        self._faults.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    def all(self) -> list[Fault]:
        """Every fault since the last clearing, used up or not."""
        return list(self._faults)

    def meet(self, target: str) -> Fault | None:
        """The fault that happens to this request now, counted."""
        for fault in self._faults:
            if fault.meets(target):
                fault.hits += 1
                return fault
        return None

    async def happen(self, fault: Fault, request: web.Request, handler: Handler, now: datetime) -> web.StreamResponse:
        """Let it happen to a request that `handler` would have answered."""
        match fault.kind:
            case "slow":
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._cleared.wait(), fault.seconds)
                return await handler(request)
            case "cut_body":
                return await _cut(request, await handler(request))
            case "reset":
                _reset(request)
                return web.Response()
            case "html_body":
                return _plain(fault.status or 503, _HTML)
            case "primary_limit":
                return _primary_limit(fault, now)
            case "secondary_limit":
                return _secondary_limit(fault, now)
            case _:
                status = fault.status or SERVER_ERROR
                return _plain(status, encode({"message": "Server Error"}))


def _plain(status: int, body: bytes, **headers: str) -> web.Response:
    shown = {**standard_headers("application/json"), **headers}
    return web.Response(status=status, headers=shown, body=body)


def _primary_limit(fault: Fault, now: datetime) -> web.Response:
    until = now + timedelta(seconds=fault.seconds)
    message = "API rate limit exceeded for user ID 1. If you reach out to GitHub Support for help, say so."
    return _plain(
        fault.status or 403,
        encode({"message": message, "documentation_url": "https://docs.github.com/rest", "status": "403"}),
        **_rate_headers("core", 5000, 0, until),
    )


def _secondary_limit(fault: Fault, now: datetime) -> web.Response:
    """The forms in which it has been recorded."""
    until = now + timedelta(seconds=fault.seconds)
    status, message, headers = 403, _SECONDARY, {}
    match fault.variant:
        case "retry_after":
            status, headers = 429, {"Retry-After": str(int(fault.seconds))}
        case "retry_after_date":
            headers = {"Retry-After": format_datetime(until, usegmt=True)}
        case "gh_limited_by":
            headers = {
                "gh-limited-by": "search-elapsed-time-shared-grouped",
                **_rate_headers("core", 5000, 4000, until),
            }
        case "no_retry_after":
            status, headers = 429, {"gh-limited-by": "search-elapsed-time-shared-grouped"}
        case "body_only":
            headers = _rate_headers("search", 30, 21, until)
        case _:
            message = "You have triggered an abuse detection mechanism. Please wait a few minutes before you try again."
            headers = {"Retry-After": str(int(fault.seconds))}
    docs = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
    return _plain(fault.status or status, encode({"message": message, "documentation_url": docs}), **headers)


def _rate_headers(bucket: str, limit: int, remaining: int, until: datetime) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(int(until.timestamp())),
        "X-RateLimit-Used": str(limit - remaining),
        "X-RateLimit-Resource": bucket,
    }


async def _cut(request: web.Request, whole: web.StreamResponse) -> web.StreamResponse:
    """The headers of the whole answer, the first half of its body, then the end of the connection."""
    body = whole.body if isinstance(whole, web.Response) and isinstance(whole.body, bytes) else b""
    headers = {**whole.headers, "Content-Length": str(len(body) + 1)}
    cut = web.StreamResponse(status=whole.status, headers=headers)
    await cut.prepare(request)
    await cut.write(body[: len(body) // 2])
    if request.transport:
        request.transport.close()
    return cut


def _reset(request: web.Request) -> None:
    """Close the connection with RST rather than FIN."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()

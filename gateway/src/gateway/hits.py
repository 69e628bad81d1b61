"""Hits: requests that the cache answers from memory, with nothing to wait for; the shortest way through the gateway."""

import time
from typing import NamedTuple

from multidict import CIMultiDictProxy

from gateway.access_log import AccessLog
from gateway.cache.shared_cache import SharedCache
from gateway.callers import Callers
from gateway.headers import has_repeats
from gateway.rate_limits import DOOR_CLASS, RateLimits
from gateway.routes import Match
from service_kit.request_id import well_formed_or_new

PLACES_LIMIT = 4096
"""Raw targets whose place in the cache is remembered; beyond, all are found anew."""
_PLACE_LIMIT_CHARACTERS = 512


class Place(NamedTuple):
    """Where a raw target leads: its endpoint, its path, and what it is in the cache."""

    match: Match
    path: str
    target: str


class Hits:
    """Answers what is fresh, public and small enough to be at hand; everything else it leaves to others."""

    def __init__(self, cache: SharedCache, limits: RateLimits, callers: Callers, log: AccessLog) -> None:
        self._cache = cache
        self._limits = limits
        self._callers = callers
        self._log = log
        self._places: dict[str, Place] = {}

    def remember(self, raw_target: str, place: Place) -> None:
        """From now on this raw target is looked for in the cache before anything else is made of it."""
        if len(raw_target) > _PLACE_LIMIT_CHARACTERS:
            return
        if len(self._places) >= PLACES_LIMIT:
            self._places.clear()
        self._places[raw_target] = place

    def answer(self, method: str, raw_target: str, headers: CIMultiDictProxy[str], peer: str) -> bytes | None:
        """The whole answer to a request without a body; None when it is not for here, and then nothing has happened."""
        place = self._places.get(raw_target)
        if place is None or method not in ("GET", "HEAD"):
            return None
        if "Authorization" in headers or "Cookie" in headers or "Expect" in headers or has_repeats(headers):
            return None
        entry = self._cache.store.get(place.target, headers.get("Accept", ""))
        now = time.monotonic()
        if entry is None or now >= entry.fresh_until:
            return None
        verdict = self._limits.check(self._callers.address(peer, headers), DOOR_CLASS, now)
        if not verdict.allowed:
            return None
        self._cache.answered["hit"] += 1
        made = self._cache.represent(place.target, entry, headers.get("Accept-Encoding", ""))
        request_id = well_formed_or_new(headers.get("X-Request-Id"))
        last = f"{verdict.lines()}X-Request-Id: {request_id}\r\n".encode()
        head, status, body = made.head, entry.status, made.body
        if "If-None-Match" in headers and entry.matches(headers["If-None-Match"]):
            head, status, body = made.not_modified_head, 304, b""
        elif method == "HEAD":
            body = b""
        answer = b"".join((head, entry.changing_fields(now), last, b"\r\n", body))
        route = place.match.route.path
        self._log.note_hit(method, place.path, route, status, len(answer), now, peer=peer, request_id=request_id)
        return answer

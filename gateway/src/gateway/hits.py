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
from service_kit.request_id import new_request_id, well_formed

PLACES_LIMIT = 4096
"""Raw targets whose place in the cache is remembered; beyond, all are found anew."""
_PLACE_LIMIT_CHARACTERS = 512


class Place(NamedTuple):
    """Where a raw target leads: its endpoint, its path, and what it is in the cache."""

    match: Match
    path: str
    target: str


class Wanted(NamedTuple):
    """A request that the cache may answer, as far as its answer depends on it."""

    place: Place
    is_head: bool
    accept: str
    accept_encoding: str
    if_none_match: str
    peer: str
    address: str
    """The caller's."""
    request_id: str | None
    """The caller's own, if it is well-formed."""


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

    def read(self, method: str, raw_target: str, headers: CIMultiDictProxy[str], peer: str) -> Wanted | None:
        """What a request without a body is for; None when it is for others to answer."""
        place = self._places.get(raw_target)
        if place is None or method not in ("GET", "HEAD"):
            return None
        if "Authorization" in headers or "Cookie" in headers or "Expect" in headers or has_repeats(headers):
            return None
        return Wanted(
            place,
            method == "HEAD",
            headers.get("Accept", ""),
            headers.get("Accept-Encoding", ""),
            headers.get("If-None-Match", ""),
            peer,
            self._callers.address(peer, headers),
            well_formed(headers.get("X-Request-Id")),
        )

    def answer(self, wanted: Wanted) -> bytes | None:
        """The whole answer; None when there is none to be had at once, and then nothing has happened."""
        place, is_head, accept, accept_encoding, if_none_match, peer, address, request_id = wanted
        entry = self._cache.store.get(place.target, accept)
        now = time.monotonic()
        if entry is None or now >= entry.fresh_until:
            return None
        verdict = self._limits.check(address, DOOR_CLASS, now)
        if not verdict.allowed:
            return None
        self._cache.answered["hit"] += 1
        made = self._cache.represent(place.target, entry, accept_encoding)
        request_id = request_id or new_request_id()
        last = f"{verdict.lines()}X-Request-Id: {request_id}\r\n\r\n".encode()
        head, status, body = made.head, entry.status, made.body
        if if_none_match and entry.matches(if_none_match):
            head, status, body = made.not_modified_head, 304, b""
        elif is_head:
            body = b""
        answer = b"".join((head, entry.changing_fields(now), last, body))
        self._log.note_hit(
            "HEAD" if is_head else "GET",
            place.path,
            place.match.route.path,
            status,
            len(answer),
            now,
            peer=peer,
            request_id=request_id,
        )
        return answer

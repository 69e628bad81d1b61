"""Passing on: what the cache cannot answer at once is asked of a service, for everybody if it may be, else for one."""

import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping

from gateway.admission import Admission, Gate
from gateway.answer import Answer, StreamedAnswer, lines_of, whole
from gateway.cache.entry import CACHE_NAME, Entry
from gateway.cache.key import shared_target
from gateway.cache.shared_cache import Fetched, Given, Question, SharedCache
from gateway.callers import Callers
from gateway.cors import ON_EVERY_ANSWER
from gateway.exchange import Exchange
from gateway.headers import SECURITY_HEADERS, answer_headers, answer_lines, request_headers, with_one_reading
from gateway.hits import Hits, Place
from gateway.hop.answer import HopAnswer
from gateway.hop.hop import Hop, HopRequest
from gateway.http_date import http_date
from gateway.rate_limits import DOOR_CLASS, RateLimits, is_accepted, network_of
from gateway.routes import Match, Service

_OWN = (("Server", "wegit"), *ON_EVERY_ANSWER, *SECURITY_HEADERS)
_OWN_LINES = lines_of(_OWN)
_SMALL_BYTES = 256 * 1024
"""A body that has come whole with its head is sent on in one piece up to this size."""


class Passing:
    """Between the front and the services."""

    def __init__(
        self,
        hops: Mapping[Service, Hop],
        admission: Admission,
        cache: SharedCache,
        hits: Hits,
        limits: RateLimits,
        callers: Callers,
    ) -> None:
        self._hops = hops
        self._admission = admission
        self._cache = cache
        self._hits = hits
        self._limits = limits
        self._callers = callers

    def charge(self, exchange: Exchange, rate_class: str = DOOR_CLASS) -> None:
        """Charge the request to its caller. Raises RateLimited."""
        headers = exchange.headers
        exchange.source = self._callers.forwarded_for(exchange.connection.peer, headers)
        exchange.address = exchange.source.partition(",")[0]
        verdict = self._limits.check(exchange.address, rate_class, exchange.started, headers.get("Authorization"))
        exchange.added = verdict.lines()
        if not verdict.allowed:
            raise verdict.error()

    async def answer(self, exchange: Exchange, match: Match, body: bytes | None) -> Answer | StreamedAnswer:
        """The answer to a request that the route takes. Raises what `Hop.send` raises, Overloaded and RateLimited."""
        target = self._shared_target(exchange, match, body)
        if target is None:
            return await self._pass_alone(exchange, match, body)
        accept = exchange.headers.get("Accept", "")
        entry = self._cache.store.get(target, accept)
        now = time.monotonic()
        if entry is not None and _is_good_enough(entry, now):
            is_stale = now >= entry.fresh_until
            self._cache.answered["stale" if is_stale else "hit"] += 1
            if is_stale:
                self._cache.renew_behind(self._question(exchange, match, target, accept), entry)
            return self._hand_out(exchange, match, target, entry, entry.changing_fields(now))
        if match.route.rate_class != DOOR_CLASS:
            self.charge(exchange, match.route.rate_class)
        if exchange.method == "HEAD":  # its answer could not be kept, and would be another's in length
            return await self._pass_alone(exchange, match, None, target)
        fetched = await self._cache.fetch(self._question(exchange, match, target, accept), entry)
        self._cache.answered["stale" if fetched.is_stale else "collapsed" if fetched.is_collapsed else "miss"] += 1
        forward = "stale" if entry is not None else "uri-miss"
        if fetched.given is not None:
            return await self._relay(exchange, fetched.given, forward)
        assert fetched.entry is not None
        return self._hand_out(exchange, match, target, fetched.entry, _fields_of(fetched, forward, time.monotonic()))

    def _shared_target(self, exchange: Exchange, match: Match, body: bytes | None) -> str | None:
        headers = exchange.headers
        if exchange.method not in ("GET", "HEAD") or body is not None:
            return None
        if "Authorization" in headers or "Cookie" in headers:
            return None
        return shared_target(match.path, exchange.query, match.route.parameters)

    def _question(self, exchange: Exchange, match: Match, target: str, accept: str) -> Question:
        shown = [("Accept", accept)] if accept else []
        shown += [("X-Forwarded-For", exchange.source), ("X-Request-Id", exchange.request_id)]

        def ask(validators: list[tuple[str, str]]) -> Awaitable[Given]:
            return self._send(match, HopRequest("GET", target, shown + validators, None), exchange.address)

        # RFC 9111, 5.2.1.5. Its other directives are left alone: anybody could have a service asked at his will.
        may_keep = "no-store" not in exchange.headers.get("Cache-Control", "").lower()
        return Question(target, accept, ask, _dress, may_keep)

    async def _pass_alone(
        self, exchange: Exchange, match: Match, body: bytes | None, target: str | None = None
    ) -> Answer | StreamedAnswer:
        self._cache.answered["bypass"] += 1
        if target is None:
            if match.route.rate_class != DOOR_CLASS:
                self.charge(exchange, match.route.rate_class)
            target = f"{match.path}?{exchange.query}" if exchange.query else match.path
        headers = request_headers(exchange.headers.items(), exchange.source, exchange.request_id)
        given = await self._send(match, HopRequest(exchange.method, target, headers, body), exchange.address)
        if "Authorization" in exchange.headers:
            self._learn(exchange.headers["Authorization"], given)
        return await self._relay(exchange, given, "bypass")

    def _learn(self, authorization: str, given: "Admitted") -> None:
        stated = ", ".join(value for name, value in given.headers if name.lower() == "cache-control")
        accepted = is_accepted(given.status, stated)
        if accepted is not None:
            self._limits.learn(authorization, accepted=accepted, now=time.monotonic())

    async def _send(self, match: Match, asked: HopRequest, address: str) -> "Admitted":
        route = match.route
        gate = self._admission.gates[route.service]
        caller = network_of(address)
        if not gate.try_enter(caller):
            await gate.enter(caller)
        try:
            given = await self._hops[route.service].send(asked, timeout_seconds=route.timeout_seconds)
        except BaseException:
            gate.leave(caller)
            raise
        return Admitted(given, gate, caller)

    async def _relay(self, exchange: Exchange, given: Given, forward: str) -> Answer | StreamedAnswer:
        """A service's answer, for one caller: whole if it is all there, else as it comes."""
        exchange.on_close = given.close
        lines = (
            f"{answer_lines(given.headers)}{_OWN_LINES}Cache-Status: {CACHE_NAME}; fwd={forward}\r\n"
            f"X-Request-Id: {exchange.request_id}\r\n{exchange.added}"
        )
        length = given.content_length
        if given.is_complete and length is not None and length <= _SMALL_BYTES and exchange.method != "HEAD":
            return whole(exchange, given.status, lines, await given.read(_SMALL_BYTES))
        return StreamedAnswer(given.status, lines, given.chunks(), length)

    def _hand_out(self, exchange: Exchange, match: Match, target: str, entry: Entry, changing: bytes) -> Answer:
        """An entry, as this caller asked for it."""
        self._hits.remember(exchange.target, Place(match, exchange.path, target))
        headers = exchange.headers
        made = self._cache.represent(target, entry, headers.get("Accept-Encoding", ""))
        last = f"{exchange.added}X-Request-Id: {exchange.request_id}\r\n{exchange.connection_line()}\r\n".encode()
        if entry.matches(headers.get("If-None-Match", "")):
            return Answer(304, made.not_modified_head + changing + last)
        body = b"" if exchange.method == "HEAD" else made.body
        return Answer(entry.status, b"".join((made.head, changing, last, body)))


class Admitted:
    """A service's answer, which keeps its caller's place with the service until it is closed."""

    __slots__ = ("_caller", "_gate", "_given", "_is_closed", "content_length", "headers", "status")

    def __init__(self, given: HopAnswer, gate: Gate, caller: str) -> None:
        self.status = given.status
        self.headers = with_one_reading(given.headers, http_date())
        self.content_length = given.content_length
        self._given = given
        self._gate = gate
        self._caller = caller
        self._is_closed = False

    @property
    def is_complete(self) -> bool:
        """Whether every byte of it has come."""
        return self._given.is_complete

    async def read(self, limit_bytes: int) -> bytes:
        """As `HopAnswer.read`."""
        return await self._given.read(limit_bytes)

    def chunks(self) -> AsyncIterator[bytes]:
        """As `HopAnswer.chunks`."""
        return self._given.chunks()

    def close(self) -> None:
        """Nobody wants more of it."""
        if not self._is_closed:
            self._is_closed = True
            self._given.close()
            self._gate.leave(self._caller)


def _is_good_enough(entry: Entry, now: float) -> bool:
    """Fresh, or stale but usable while it is renewed, or while it cannot be."""
    return now < entry.revalidate_until or (now < entry.retry_at and now < entry.error_until)


def _dress(given: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [*answer_headers(given), *_OWN]


def _fields_of(fetched: Fetched, forward: str, now: float) -> bytes:
    """`Age` and `Cache-Status` of what had to be asked for."""
    entry = fetched.entry
    assert entry is not None
    if fetched.is_stale:
        return entry.changing_fields(now)
    stored = "; stored" if fetched.is_stored else ""
    collapsed = "; collapsed" if fetched.is_collapsed else ""
    age = int(now - entry.born_at)
    return f"Age: {age}\r\nCache-Status: {CACHE_NAME}; fwd={forward}{stored}{collapsed}\r\n".encode()

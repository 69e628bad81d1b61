"""Passing on: what the cache cannot answer at once is asked of a service, for everybody if it may be, else for one."""

import time
from collections.abc import Awaitable, Iterable, Mapping

from gateway.admission import Admission, Admitted
from gateway.answer import Answer, StreamedAnswer, lines_of, whole
from gateway.cache.entry import CACHE_NAME, Entry
from gateway.cache.flight import Fetched, Flight, Given, Question
from gateway.cache.key import shared_target
from gateway.cache.shared_cache import SharedCache
from gateway.callers import Callers
from gateway.cors import ON_EVERY_ANSWER
from gateway.exchange import Exchange
from gateway.headers import SECURITY_HEADERS, answer_headers, answer_lines, request_headers
from gateway.hits import Hits, Place
from gateway.hop.hop import FirstTry, Hop, HopRequest
from gateway.rate_limits import DOOR_CLASS, RateLimits, Verdict, is_accepted, network_of
from gateway.routes import Match, Service

_OWN = (("Server", "wegit"), *ON_EVERY_ANSWER, *SECURITY_HEADERS)
_OWN_LINES = lines_of(_OWN)
_SMALL_BYTES = 256 * 1024
"""A body that has come whole with its head is sent on in one piece up to this size."""


class Miss:
    """What the cache lacks, and has been asked of a service already: a first try, which is not waited for."""

    __slots__ = ("accept", "admitted", "first_try", "flight", "is_gone_on_with", "match", "target")

    def __init__(
        self, match: Match, target: str, accept: str, flight: Flight, first_try: FirstTry, admitted: Admitted
    ) -> None:
        self.match = match
        self.target = target
        self.accept = accept
        self.flight = flight
        self.first_try = first_try
        self.admitted = admitted
        self.is_gone_on_with = False


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
        verdict = self.try_charge(exchange, rate_class)
        if not verdict.allowed:
            raise self._limits.refuse(verdict)

    def try_charge(self, exchange: Exchange, rate_class: str = DOOR_CLASS) -> Verdict:
        """Charge the request to its caller; one that is not allowed is not charged, nor counted as refused."""
        headers = exchange.headers
        exchange.source = self._callers.forwarded_for(exchange.connection.peer, headers)
        exchange.address = exchange.source.partition(",")[0]
        verdict = self._limits.check(exchange.address, rate_class, exchange.started, headers.get("Authorization"))
        exchange.added = verdict.lines()
        return verdict

    async def answer(self, exchange: Exchange, match: Match, body: bytes | None) -> Answer | StreamedAnswer:
        """The answer to a request that the route takes. Raises what `Hop.send` raises, Overloaded and RateLimited."""
        target = shared_target_of(exchange, match) if body is None else None
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
        return self._answer_with(exchange, match, target, fetched, "stale" if entry is not None else "uri-miss")

    async def go_on(self, exchange: Exchange, miss: Miss) -> Answer | StreamedAnswer:
        """As `answer`, for what was begun: its first try has failed, or brings more than is passed on at once."""
        fetched = await self._cache.fetch(self.question_of(exchange, miss), None, miss.flight)
        return self._answer_with(exchange, miss.match, miss.target, fetched, "uri-miss")

    def answer_at_once(self, exchange: Exchange, miss: Miss) -> Answer:
        """As `answer`, for what was begun, and has come: all of it, and below 500."""
        delay_seconds = time.monotonic() - exchange.started
        miss.admitted.take_head(miss.first_try.answer)
        fetched = self._cache.arrive(miss.flight, miss.admitted, delay_seconds)
        self._cache.answered["miss"] += 1
        if fetched.entry is None:
            return _relayed(exchange, miss.admitted, "uri-miss")
        return self._hand_out(exchange, miss.match, miss.target, fetched.entry, _fields_of(fetched, "uri-miss"))

    def question_of(self, exchange: Exchange, miss: Miss) -> Question:
        """What was begun, to be gone on with."""

        async def ask(_validators: list[tuple[str, str]]) -> Given:
            miss.is_gone_on_with = True
            route, admitted = miss.match.route, miss.admitted
            asked = shared_request(exchange, miss.target, miss.accept)
            try:
                given = await self._hops[route.service].send(
                    asked, timeout_seconds=route.timeout_seconds, begun=miss.first_try
                )
                admitted.take_head(given)
            except BaseException:
                admitted.close()
                raise
            return admitted

        def unasked() -> None:
            if not miss.is_gone_on_with:
                miss.admitted.close()

        return Question(miss.target, miss.accept, ask, unasked=unasked)

    def _question(self, exchange: Exchange, match: Match, target: str, accept: str) -> Question:
        def ask(validators: list[tuple[str, str]]) -> Awaitable[Given]:
            asked = shared_request(exchange, target, accept, validators)
            return self._send(match, asked, exchange.address)

        return Question(target, accept, ask, may_keep(exchange))

    def _answer_with(
        self, exchange: Exchange, match: Match, target: str, fetched: Fetched, forward: str
    ) -> Answer | StreamedAnswer:
        self._cache.answered["stale" if fetched.is_stale else "collapsed" if fetched.is_collapsed else "miss"] += 1
        if fetched.given is not None:
            return self._relay(exchange, fetched.given, forward)
        assert fetched.entry is not None
        return self._hand_out(exchange, match, target, fetched.entry, _fields_of(fetched, forward))

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
        return self._relay(exchange, given, "bypass")

    def _learn(self, authorization: str, given: Admitted) -> None:
        stated = ", ".join(value for name, value in given.headers if name.lower() == "cache-control")
        accepted = is_accepted(given.status, stated)
        if accepted is not None:
            self._limits.learn(authorization, accepted=accepted, now=time.monotonic())

    async def _send(self, match: Match, asked: HopRequest, address: str) -> Admitted:
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
        admitted = Admitted(given, gate, caller)
        admitted.take_head(given)
        return admitted

    def _relay(self, exchange: Exchange, given: Given, forward: str) -> Answer | StreamedAnswer:
        """A service's answer, for one caller: whole if it is all there, else as it comes."""
        exchange.on_close = given.close
        length = given.content_length
        if given.is_complete and length is not None and length <= _SMALL_BYTES and exchange.method != "HEAD":
            return _relayed(exchange, given, forward)
        return StreamedAnswer(given.status, _relayed_lines(exchange, given, forward), given.chunks(), length)

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


def shared_target_of(exchange: Exchange, match: Match) -> str | None:
    """What a request without a body is in the cache; None where its answer is its caller's alone."""
    headers = exchange.headers
    if exchange.method not in ("GET", "HEAD") or "Authorization" in headers or "Cookie" in headers:
        return None
    return shared_target(match.path, exchange.query, match.route.parameters)


def shared_request(
    exchange: Exchange, target: str, accept: str, validators: Iterable[tuple[str, str]] = ()
) -> HopRequest:
    """What a service gets to see of a request whose answer is everybody's."""
    headers = [("X-Forwarded-For", exchange.source), ("X-Request-Id", exchange.request_id), *validators]
    if accept:
        headers.append(("Accept", accept))
    return HopRequest("GET", target, headers, None)


def may_keep(exchange: Exchange) -> bool:
    """Whether the caller has nothing against a copy of the answer (RFC 9111, 5.2.1.5).

    Its other directives are left alone: anybody could have a service asked at his will.
    """
    return "no-store" not in exchange.headers.get("Cache-Control", "").lower()


def _is_good_enough(entry: Entry, now: float) -> bool:
    """Fresh, or stale but usable while it is renewed, or while it cannot be."""
    return now < entry.revalidate_until or (now < entry.retry_at and now < entry.error_until)


def dress(given: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of a service's headers, what callers get, and the gateway's own."""
    return [*answer_headers(given), *_OWN]


def _relayed(exchange: Exchange, given: Given, forward: str) -> Answer:
    """A service's answer that is all there, for one caller."""
    return whole(exchange, given.status, _relayed_lines(exchange, given, forward), given.take())


def _relayed_lines(exchange: Exchange, given: Given, forward: str) -> str:
    return (
        f"{answer_lines(given.headers)}{_OWN_LINES}Cache-Status: {CACHE_NAME}; fwd={forward}\r\n"
        f"X-Request-Id: {exchange.request_id}\r\n{exchange.added}"
    )


def _fields_of(fetched: Fetched, forward: str) -> bytes:
    """`Age` and `Cache-Status` of what had to be asked for."""
    entry = fetched.entry
    assert entry is not None
    now = time.monotonic()
    if fetched.is_stale:
        return entry.changing_fields(now)
    stored = "; stored" if fetched.is_stored else ""
    collapsed = "; collapsed" if fetched.is_collapsed else ""
    age = int(now - entry.born_at)
    return f"Age: {age}\r\nCache-Status: {CACHE_NAME}; fwd={forward}{stored}{collapsed}\r\n".encode()

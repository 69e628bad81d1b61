"""Misses passed on straight from the parser: most answers come soon and whole, and no task need wait for them.

A request goes out while it is being parsed, and its answer goes on when it has come. What would have to wait for
anything else (a connection, a place, another's question), what fails and what does not come in one piece goes the long
way (`front`), from where it is.
"""

from collections.abc import Callable, Mapping

import structlog

from gateway.access_log import AccessLog
from gateway.admission import Admission, Admitted
from gateway.answer import cut
from gateway.cache.shared_cache import SharedCache
from gateway.exchange import LEFT, Exchange
from gateway.headers import check_headers
from gateway.hop.hop import Hop
from gateway.outbox import Outbox
from gateway.passing import Miss, Passing, may_keep, shared_request, shared_target_of
from gateway.rate_limits import DOOR_CLASS, network_of
from gateway.routes import RouteTable, Service
from gateway.target import check_target
from service_kit.alerts import Alerts
from service_kit.errors import InvalidRequest
from service_kit.request_id import well_formed_or_new

LIMIT_BYTES = 64 * 1024
"""Of a body: as much as a connection's buffer takes, so that nobody keeps more by not reading it."""
log = structlog.get_logger()


class Straight:
    """Begins what can go straight."""

    def __init__(
        self,
        passing: Passing,
        table: RouteTable,
        hops: Mapping[Service, Hop],
        admission: Admission,
        cache: SharedCache,
        access_log: AccessLog,
        alerts: Alerts,
        outbox: Outbox,
    ) -> None:
        self.outbox = outbox
        self.passing = passing
        self.access_log = access_log
        self.alerts = alerts
        self._table = table
        self._hops = hops
        self._admission = admission
        self._cache = cache

    def begin(self, exchange: Exchange, on_end: Callable[["StraightMiss"], None]) -> "StraightMiss | None":
        """Ask a service for what a GET without a body lacks in the cache; None where it has to go the long way.

        `on_end` is called when it `is_answered`, or `goes_on` the long way.
        """
        headers = exchange.headers
        match = self._table.find(exchange.path)
        if match is None or exchange.method != "GET" or "Expect" in headers or not may_keep(exchange):
            return None
        route = match.route
        if "GET" not in route.methods or route.rate_class != DOOR_CLASS:
            return None
        target = shared_target_of(exchange, match)
        accept = headers.get("Accept", "")
        cache = self._cache
        if target is None or cache.is_asked_for(target, accept) or cache.store.get(target, accept) is not None:
            return None
        exchange.route = route.path
        try:
            check_target(exchange.target)
            check_headers(headers.items())
        except InvalidRequest:  # the long way meets it again, and says so
            return None
        if not self.passing.try_charge(exchange).allowed:
            exchange.address = ""  # likewise
            return None
        gate = self._admission.gates[route.service]
        caller = network_of(exchange.address)
        if not gate.try_enter(caller):
            return None
        exchange.request_id = well_formed_or_new(headers.get("X-Request-Id"))
        first_try = None
        try:
            first_try = self._hops[route.service].begin(
                shared_request(exchange, target, accept), timeout_seconds=route.timeout_seconds
            )
        finally:
            if first_try is None:
                gate.leave(caller)
        if first_try is None:
            return None
        exchange.begun = Miss(
            match, target, accept, cache.depart(target, accept), first_try, Admitted(first_try.answer, gate, caller)
        )
        return StraightMiss(self, exchange, exchange.begun, on_end)

    def leave(self, exchange: Exchange, miss: Miss) -> None:
        """The caller is gone; who asked the same meanwhile gets the answer none the less."""
        self._cache.leave(miss.flight, self.passing.question_of(exchange, miss))


class StraightMiss:
    """One that is under way."""

    __slots__ = ("_answer", "_miss", "_on_end", "_straight", "exchange", "goes_on", "is_answered")

    def __init__(
        self, straight: Straight, exchange: Exchange, miss: Miss, on_end: Callable[["StraightMiss"], None]
    ) -> None:
        self._straight = straight
        self._miss = miss
        self._on_end = on_end
        self.exchange = exchange
        self.is_answered = self.goes_on = False
        self._answer = miss.first_try.answer
        self._answer.on_progress = self._go_on
        exchange.connection.begin_request()

    def leave(self) -> None:
        """The caller is gone."""
        self._answer.on_progress = None
        log.info("request.left", route=self.exchange.route, request_id=self.exchange.request_id)
        self._straight.leave(self.exchange, self._miss)
        self._end(LEFT)

    def _go_on(self) -> None:
        answer = self._answer
        answer.on_progress = None
        length = answer.content_length
        if answer.is_complete and answer.status < 500 and length is not None and length <= LIMIT_BYTES:
            self._pass_on()
        self.goes_on = not self.is_answered
        self._on_end(self)

    def _pass_on(self) -> None:
        exchange = self.exchange
        status = LEFT
        try:
            made = self._straight.passing.answer_at_once(exchange, self._miss)
            exchange.write(made.data, self._straight.outbox)
            status = made.status
        except ConnectionError:
            log.info("request.left", route=exchange.route, request_id=exchange.request_id)
        except Exception as error:
            log.exception("request.failed", request_id=exchange.request_id)
            self._straight.alerts.report(error)
            cut(exchange.connection)
        finally:
            self._miss.admitted.close()
            self.is_answered = True
            self._end(status)

    def _end(self, status: int) -> None:
        self._straight.access_log.note(self.exchange, status)
        self.exchange.connection.end_request()

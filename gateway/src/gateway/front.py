"""The public server's handler: hygiene, route, hop, answer; no application and no middlewares stand between."""

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.admission import Admission
from gateway.answer import Answer, cut
from gateway.connections import Connection
from gateway.cors import ON_EVERY_ANSWER, preflight_headers
from gateway.documentation import read_documents
from gateway.headers import Network, answer_headers, forwarded_for, request_headers
from gateway.hop.hop import Hop, HopRequest
from gateway.rate_limits import network_of
from gateway.routes import ROUTES, Match, RouteTable, Service
from gateway.target import check_target
from service_kit.alerts import Alerts
from service_kit.errors import InvalidRequest, NotFound, ServiceError, UpstreamFault, problem_response
from service_kit.metrics import Metrics
from service_kit.request_id import begin_request

REQUEST_BODY_TIMEOUT_SECONDS = 15.0
_UNMATCHED = "unmatched"
_LEFT = 499  # nginx's number for a caller who left before the answer
log = structlog.get_logger()


_DOCUMENT_METHODS = ("GET", "HEAD")


class Front:
    """Answers every request that reaches the public port."""

    def __init__(
        self,
        hops: Mapping[Service, Hop],
        *,
        admission: Admission,
        trusted_proxies: tuple[Network, ...],
        metrics: Metrics,
        alerts: Alerts,
    ) -> None:
        self._hops = hops
        self._admission = admission
        self._trusted_proxies = trusted_proxies
        self._metrics = metrics
        self._alerts = alerts
        self._table = RouteTable(ROUTES)
        self._documents = read_documents()

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever becomes of it, and write its one line (never its query: tokens travel there)."""
        started = time.perf_counter()
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.begin_request()
        exchange = Exchange(request, begin_request(request.headers.get("X-Request-Id")))
        status = _LEFT
        try:
            answer = await self._answer(exchange)
            try:
                await answer.prepare(request)
            except UpstreamFault as error:
                # Its beginning is out: only a connection that breaks tells the caller that the end is missing.
                log.warning("upstream.body_broken", route=exchange.route, error=error.detail)
                cut(request)
            except ConnectionError:
                log.info("request.left", route=exchange.route)
            status = answer.code
            exchange.sent_bytes = answer.sent_bytes
            return answer
        finally:
            exchange.close()
            connection.end_request()
            seconds = time.perf_counter() - started
            self._metrics.observe_request(request.method, exchange.route, status, seconds)
            log.info(
                "request.answered",
                method=request.method,
                path=exchange.path,
                route=exchange.route,
                status=status,
                bytes=exchange.sent_bytes,
                duration_ms=round(seconds * 1000, 2),
                peer=request.remote,
            )

    async def _answer(self, exchange: "Exchange") -> Answer:
        try:
            return await self._route(exchange)
        except (ServiceError, web.HTTPException) as error:
            return exchange.own(problem_response(error, exchange.path))
        except Exception as error:
            log.exception("request.failed")
            self._alerts.report(error)
            return exchange.own(problem_response(None, exchange.path))

    async def _route(self, exchange: "Exchange") -> Answer:
        request = exchange.request
        target = request.raw_path
        # What has two readings is refused even where one of them leads nowhere.
        check_target(target)
        if request.version < HttpVersion11 and (
            request.version < HttpVersion10 or "Transfer-Encoding" in request.headers
        ):
            raise InvalidRequest("HTTP before 1.0, or 1.0 with Transfer-Encoding, is not spoken here.")
        if "Expect" in request.headers and request.headers["Expect"].lower() != "100-continue":
            raise web.HTTPExpectationFailed
        match = self._table.find(exchange.path)
        document = self._documents.get(exchange.path) if match is None else None
        if match is None and document is None:
            raise NotFound("There is nothing at this path.")
        exchange.route = match.route.path if match else exchange.path
        methods = match.route.methods if match else _DOCUMENT_METHODS
        if request.method == "OPTIONS":
            return exchange.answer(204, preflight_headers(methods))
        if request.method not in methods:
            raise web.HTTPMethodNotAllowed(request.method, {*methods, "OPTIONS"})
        if match is None:
            assert document is not None
            return exchange.answer(*document.respond(request.headers))
        return await self._pass_on(exchange, match)

    async def _pass_on(self, exchange: "Exchange", match: Match) -> Answer:
        request = exchange.request
        source = forwarded_for(
            request.remote or "", request.headers.getall("X-Forwarded-For", []), self._trusted_proxies
        )
        query = request.raw_path.partition("?")[2]
        asked = HopRequest(
            request.method,
            f"{match.path}?{query}" if query else match.path,
            list(request_headers(request.headers, source, exchange.request_id).items()),
            await _read_body(request, match.route.body_limit_bytes),
        )
        gate = self._admission.gates[match.route.service]
        caller = network_of(source.partition(",")[0])
        await gate.enter(caller)
        exchange.on_close.append(lambda: gate.leave(caller))
        given = await self._hops[match.route.service].send(asked, timeout_seconds=match.route.timeout_seconds)
        exchange.on_close.append(given.close)
        headers = answer_headers(CIMultiDictProxy(CIMultiDict(given.headers)), exchange.request_id)
        headers.popall("Content-Length", None)
        kept = [(name, value) for name, value in headers.items() if not name.lower().startswith("access-control-")]
        return Answer(
            given.status, [*kept, *ON_EVERY_ANSWER], chunks=given.chunks(), content_length=given.content_length
        )


class Exchange:
    """One request, and what has to be known of it once it is over."""

    __slots__ = ("on_close", "path", "request", "request_id", "route", "sent_bytes")

    def __init__(self, request: BaseRequest, request_id: str) -> None:
        self.request = request
        self.request_id = request_id
        self.path = request.raw_path.partition("?")[0]
        self.route = _UNMATCHED
        self.sent_bytes = 0
        self.on_close: list[Callable[[], None]] = []

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes = b"") -> Answer:
        """An answer of the gateway's own."""
        named = [("Server", "wegit"), ("X-Request-Id", self.request_id)]
        return Answer(status, [*headers, *named, *ON_EVERY_ANSWER], body)

    def own(self, response: web.Response) -> Answer:
        """An answer of the gateway's own, from what the services' errors are mapped to."""
        assert isinstance(response.body, bytes)
        return self.answer(response.status, list(response.headers.items()), response.body)

    def close(self) -> None:
        """Leave nothing open behind it."""
        for close in reversed(self.on_close):
            close()


async def _read_body(request: BaseRequest, limit_bytes: int) -> bytes | None:
    # Whole, as it is small by rule: then too large is a 413 before a service has heard of it, and a caller who
    # sends slowly holds nothing but his own connection.
    if not request.body_exists:
        return None
    if "Expect" in request.headers and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    try:
        async with asyncio.timeout(REQUEST_BODY_TIMEOUT_SECONDS):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limit_bytes:
                    raise web.HTTPRequestEntityTooLarge(limit_bytes)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except web.RequestPayloadError:
        raise InvalidRequest("The request's body is not well-formed.") from None
    return bytes(body)

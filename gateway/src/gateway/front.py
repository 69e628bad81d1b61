"""The public server's handler: hygiene, route, limit, cache or hop, answer; no application and no middlewares."""

import asyncio

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.web_request import BaseRequest

from gateway.access_log import AccessLog
from gateway.answer import OnWire, ReadyAnswer, connection_line, cut, stays_open
from gateway.connections import Connection
from gateway.cors import preflight_headers
from gateway.documentation import read_documents
from gateway.exchange import Exchange
from gateway.headers import check_headers
from gateway.hits import Hits
from gateway.passing import Passing
from gateway.routes import ROUTES, RouteTable
from gateway.target import check_target
from service_kit.alerts import Alerts
from service_kit.errors import InvalidRequest, NotFound, ServiceError, UpstreamFault, problem_response
from service_kit.request_id import begin_request

REQUEST_BODY_TIMEOUT_SECONDS = 15.0
_DOCUMENT_METHODS = ("GET", "HEAD")
_LEFT = 499  # nginx's number for a caller who left before the answer
log = structlog.get_logger()


class Front:
    """Answers every request that reaches the public port."""

    def __init__(self, hits: Hits, passing: Passing, access_log: AccessLog, alerts: Alerts) -> None:
        self._hits = hits
        self._passing = passing
        self._access_log = access_log
        self._alerts = alerts
        self._table = RouteTable(ROUTES)
        self._documents = read_documents()

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever becomes of it."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.begin_request()
        try:
            return self._hit(request) or await self._exchange(request)
        finally:
            connection.end_request()

    def _hit(self, request: BaseRequest) -> OnWire | None:
        if request.body_exists or request.version < HttpVersion10 or "Transfer-Encoding" in request.headers:
            return None
        line = connection_line(request, stays=stays_open(request)).encode()
        data = self._hits.answer(request.method, request.raw_path, request.headers, request.remote or "", line)
        return None if data is None else ReadyAnswer(200, data)

    async def _exchange(self, request: BaseRequest) -> OnWire:
        exchange = Exchange(request, begin_request(request.headers.get("X-Request-Id")))
        status, answer = _LEFT, None
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
            return answer
        finally:
            exchange.close()
            self._access_log.note(
                request.method,
                exchange.path,
                exchange.route,
                status,
                answer.sent_bytes if answer else 0,
                exchange.started,
                peer=request.remote,
            )

    async def _answer(self, exchange: Exchange) -> OnWire:
        try:
            return await self._route(exchange)
        except (ServiceError, web.HTTPException) as error:
            return exchange.problem(problem_response(error, exchange.path))
        except Exception as error:
            log.exception("request.failed")
            self._alerts.report(error)
            return exchange.problem(problem_response(None, exchange.path))

    async def _route(self, exchange: Exchange) -> OnWire:
        request = exchange.request
        match = self._table.find(exchange.path)
        document = self._documents.get(exchange.path) if match is None else None
        if match is not None or document is not None:
            exchange.route = match.route.path if match else exchange.path
        self._passing.charge(exchange)
        # What has two readings is refused even where one of them leads nowhere.
        check_target(request.raw_path)
        check_headers(request.headers.items())
        _check_version_and_expectation(request)
        methods = match.route.methods if match else _DOCUMENT_METHODS if document else ()
        if not methods:
            raise NotFound("There is nothing at this path.")
        if request.method == "OPTIONS":
            return exchange.answer(204, preflight_headers(methods))
        if request.method not in methods:
            raise web.HTTPMethodNotAllowed(request.method, {*methods, "OPTIONS"})
        if document is not None:
            return exchange.answer(*document.respond(request.headers))
        assert match is not None
        body = await _read_body(request, match.route.body_limit_bytes) if request.body_exists else None
        if request.method in ("GET", "HEAD"):
            body = None  # it has no meaning (RFC 9110, 9.3.1), but for who wants a request read as two
        return await self._passing.answer(exchange, match, body)


def _check_version_and_expectation(request: BaseRequest) -> None:
    if request.version < HttpVersion11 and (request.version < HttpVersion10 or "Transfer-Encoding" in request.headers):
        raise InvalidRequest("HTTP before 1.0, or 1.0 with Transfer-Encoding, is not spoken here.")
    if "Expect" in request.headers and request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed


async def _read_body(request: BaseRequest, limit_bytes: int) -> bytes:
    # Whole, as it is small by rule: then too large is a 413 before a service has heard of it, and a caller who
    # sends slowly holds nothing but his own connection.
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

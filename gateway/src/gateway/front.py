"""The public server's handler: hygiene, route, limit, cache or hop, answer; no application and no middlewares."""

import asyncio
from collections.abc import Iterable

import structlog
from aiohttp import HttpVersion10, HttpVersion11, StreamReader, web
from aiohttp.web_request import BaseRequest

from gateway.access_log import AccessLog
from gateway.answer import Answer, StreamedAnswer, cut, lines_of, whole
from gateway.connections import Connection
from gateway.cors import ON_EVERY_ANSWER, preflight_headers
from gateway.documentation import read_documents
from gateway.exchange import LEFT, Exchange
from gateway.headers import SECURITY_HEADERS, check_headers
from gateway.http_date import http_date
from gateway.passing import Passing
from gateway.routes import RouteTable
from gateway.target import check_target
from service_kit.alerts import Alerts
from service_kit.errors import InvalidRequest, NotFound, ServiceError, UpstreamFault, problem_response
from service_kit.request_id import begin_request

REQUEST_BODY_TIMEOUT_SECONDS = 15.0
_DOCUMENT_METHODS = ("GET", "HEAD")
log = structlog.get_logger()


class Front:
    """Answers every request that reaches the public port."""

    def __init__(self, table: RouteTable, passing: Passing, access_log: AccessLog, alerts: Alerts) -> None:
        self._passing = passing
        self._access_log = access_log
        self._alerts = alerts
        self._table = table
        self._documents = read_documents()

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """Answer one of aiohttp's requests, whatever becomes of it."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        exchange = Exchange(
            connection,
            request.method,
            request.raw_path,
            request.headers,
            request.version,
            wants_more=request.keep_alive,
            body=request.content if request.body_exists else None,
        )
        await self.serve(exchange)
        return _Sent(keep_alive=exchange.keeps_alive)

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request, whatever becomes of it."""
        connection = exchange.connection
        connection.begin_request()
        exchange.request_id = begin_request(exchange.request_id or exchange.headers.get("X-Request-Id"))
        status = LEFT
        try:
            answer = await self._answer(exchange)
            try:
                await answer.send(exchange)
                status = answer.status
            except UpstreamFault as error:
                # Its beginning is out: only a connection that breaks tells the caller that the end is missing.
                log.warning("upstream.body_broken", route=exchange.route, error=error.detail)
                cut(connection)
                status = answer.status
            except ConnectionError:
                log.info("request.left", route=exchange.route)
            except Exception as error:
                log.exception("request.failed")
                self._alerts.report(error)
                cut(connection)
        finally:
            exchange.close()
            self._access_log.note(exchange, status)
            connection.end_request()

    async def _answer(self, exchange: Exchange) -> Answer | StreamedAnswer:
        try:
            return await self._route(exchange)
        except (ServiceError, web.HTTPException) as error:
            return _problem(exchange, problem_response(error, exchange.path))
        except Exception as error:
            log.exception("request.failed")
            self._alerts.report(error)
            return _problem(exchange, problem_response(None, exchange.path))

    async def _route(self, exchange: Exchange) -> Answer | StreamedAnswer:
        if exchange.begun is not None:
            return await self._passing.go_on(exchange, exchange.begun)
        path, method, headers = exchange.path, exchange.method, exchange.headers
        match = self._table.find(path)
        document = self._documents.get(path) if match is None else None
        if match is not None or document is not None:
            exchange.route = match.route.path if match else path
        if not exchange.is_charged:
            self._passing.charge(exchange)
        # What has two readings is refused even where one of them leads nowhere.
        check_target(exchange.target)
        check_headers(headers.items())
        _check_version_and_expectation(exchange)
        methods = match.route.methods if match else _DOCUMENT_METHODS if document else ()
        if not methods:
            raise NotFound("There is nothing at this path.")
        if method == "OPTIONS":
            return _own_answer(exchange, 204, preflight_headers(methods))
        if method not in methods:
            raise web.HTTPMethodNotAllowed(method, {*methods, "OPTIONS"})
        if document is not None:
            return _own_answer(exchange, *document.respond(headers))
        assert match is not None
        body = None
        if exchange.body is not None:
            body = await _read_body(exchange, exchange.body, match.route.body_limit_bytes)
            if method in ("GET", "HEAD"):
                body = None  # it has no meaning (RFC 9110, 9.3.1), but for who wants a request read as two
        return await self._passing.answer(exchange, match, body)


class _Sent(web.StreamResponse):
    """What aiohttp's server is given for a response: it is out already."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._keep_alive = keep_alive

    async def prepare(self, request: BaseRequest) -> None:
        pass

    async def write_eof(self, data: bytes = b"") -> None:
        pass


def _own_answer(exchange: Exchange, status: int, headers: Iterable[tuple[str, str]], body: bytes = b"") -> Answer:
    """An answer of the gateway's own."""
    headers = list(headers)
    named = {name for name, _ in headers}
    own = (("Server", "wegit"), ("Date", http_date()), ("X-Request-Id", exchange.request_id))
    security = [field for field in SECURITY_HEADERS if field[0] not in named]
    return whole(exchange, status, lines_of([*headers, *own, *ON_EVERY_ANSWER, *security]) + exchange.added, body)


def _problem(exchange: Exchange, response: web.Response) -> Answer:
    """An answer of the gateway's own, from what errors are mapped to."""
    assert isinstance(response.body, bytes)
    return _own_answer(exchange, response.status, response.headers.items(), response.body)


def _check_version_and_expectation(exchange: Exchange) -> None:
    version, headers = exchange.version, exchange.headers
    if version < HttpVersion11 and (version < HttpVersion10 or "Transfer-Encoding" in headers):
        raise InvalidRequest("HTTP before 1.0, or 1.0 with Transfer-Encoding, is not spoken here.")
    if "Expect" in headers and headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed


async def _read_body(exchange: Exchange, offered: StreamReader, limit_bytes: int) -> bytes:
    # Whole, as it is small by rule: then too large is a 413 before a service has heard of it, and a caller who
    # sends slowly holds nothing but his own connection.
    transport = exchange.connection.transport
    if "Expect" in exchange.headers and transport is not None:
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    try:
        async with asyncio.timeout(REQUEST_BODY_TIMEOUT_SECONDS):
            while chunk := await offered.readany():
                body += chunk
                if len(body) > limit_bytes:
                    raise web.HTTPRequestEntityTooLarge(limit_bytes)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except web.RequestPayloadError:
        raise InvalidRequest("The request's body is not well-formed.") from None
    return bytes(body)

"""Passing on: one request to one service and its answer back, unchanged, as a stream."""

import asyncio
import socket
import struct

import aiohttp
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict
from yarl import URL

from gateway.headers import Network, answer_headers, forwarded_for, request_headers
from gateway.routes import Service
from service_kit.client import deadline, open_session
from service_kit.errors import InvalidRequest, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from service_kit.metrics import Metrics
from service_kit.request_id import current_request_id

ANSWER_TIMEOUT_SECONDS = 15.0
"""Until an answer's head has come; a service's own call to GitHub ends at 12 s."""
IDLE_TIMEOUT_SECONDS = 30.0
"""Between two parts of an answer's body."""
REQUEST_BODY_TIMEOUT_SECONDS = 15.0
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s
log = structlog.get_logger()


class Upstream:
    """One service: its address, and connections of its own, so that a dead one cannot use up another's."""

    def __init__(self, service: Service, url: str, metrics: Metrics) -> None:
        self._service = service
        self._origin = url
        self._session = open_session(metrics, checked=False, decompress=False)

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def ask(
        self, method: str, target: str, headers: CIMultiDict[str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        """The service's answer, whatever its status, the body yet to be read. `target` goes out byte for byte.

        Raises UpstreamUnreachable, UpstreamTimeout or UpstreamFault, which name the service.
        """
        # An origin of ours and a path that begins with a slash: nothing in it can change the host.
        url = URL(self._origin + target, encoded=True)
        try:
            with deadline(ANSWER_TIMEOUT_SECONDS):
                try:
                    return await self._send(method, url, headers, body)
                except UpstreamUnreachable as error:
                    if method not in _SAFE_METHODS or not _is_broken(error):
                        raise
                    return await self._send(method, url, headers, body)
        except UpstreamTimeout:
            raise UpstreamTimeout(f"The {self._service} did not answer in time.") from None
        except UpstreamUnreachable:
            raise UpstreamUnreachable(f"The {self._service} cannot be reached.") from None
        except UpstreamFault:
            raise UpstreamFault(f"The {self._service} gave an answer that is not HTTP.") from None

    async def _send(
        self, method: str, url: URL, headers: CIMultiDict[str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        return await self._session.request(
            method,
            url,
            headers=headers,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            data=body,
            allow_redirects=False,
        )


def _is_broken(error: UpstreamUnreachable) -> bool:
    """Whether there was a connection: perhaps a kept one that the service was closing just then (RFC 9112, 9.3.1)."""
    cause = error.__cause__
    return isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, aiohttp.ClientConnectorError)


UPSTREAMS = web.AppKey("upstreams", dict[Service, Upstream])
TRUSTED_PROXIES = web.AppKey("trusted_proxies", tuple[Network, ...])


def pass_on_to(service: Service, *, prefixed: bool = False) -> Handler:
    """A handler that passes requests on to a service; `prefixed` takes the path's first segment off."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        target = request.raw_path
        if prefixed:
            target = target[target.index("/", 1) :]
        source = forwarded_for(
            request.remote or "", request.headers.getall("X-Forwarded-For", []), request.app[TRUSTED_PROXIES]
        )
        request_id = current_request_id() or ""
        headers = request_headers(request.headers, source, request_id)
        body = await _read_body(request)
        async with await request.app[UPSTREAMS][service].ask(request.method, target, headers, body) as answer:
            response = web.StreamResponse(status=answer.status, headers=answer_headers(answer.headers, request_id))
            await _relay(answer, response, request)
            return response

    return pass_on


async def _read_body(request: web.Request) -> bytes | None:
    # Whole, as it is small by rule: then too large is a 413 before a service has heard of it, and a caller who
    # sends slowly holds nothing but his own connection.
    if not request.body_exists:
        return None
    try:
        async with asyncio.timeout(REQUEST_BODY_TIMEOUT_SECONDS):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except web.RequestPayloadError:
        raise InvalidRequest("The request's body is not well-formed.") from None


async def _relay(answer: aiohttp.ClientResponse, response: web.StreamResponse, request: web.Request) -> None:
    """Send the answer as it comes, no faster than the caller takes it."""
    try:
        await response.prepare(request)
        while chunk := await _next_chunk(answer):
            await response.write(chunk)
        await response.write_eof()
    except UpstreamFault as error:
        # Its beginning is out: only a connection that breaks tells the caller that the end is missing.
        log.warning("upstream.body_broken", host=answer.url.host, error=error.detail)
        _reset(request.transport)
    except ConnectionError:
        log.info("request.left", host=answer.url.host)


def _reset(transport: asyncio.Transport | None) -> None:
    # Not only closed: to an HTTP/1.0 caller an orderly end would be the answer's end.
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


async def _next_chunk(answer: aiohttp.ClientResponse) -> bytes:
    # Not aiohttp's `sock_read`: on a malformed chunk aiohttp 3.14 closes the connection without telling the reader.
    try:
        async with asyncio.timeout(IDLE_TIMEOUT_SECONDS):
            return await answer.content.readany()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UpstreamFault(type(error).__name__) from error

"""Passing on: one request to one service and its answer back, unchanged, as a stream."""

import asyncio

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
log = structlog.get_logger()


class Upstream:
    """One service: its address, and connections of its own, so that a dead one cannot use up another's."""

    def __init__(self, service: Service, url: str, metrics: Metrics) -> None:
        self._service = service
        self._origin = url
        self._session = open_session(metrics, checked=False, decompress=False)
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._session.timeout.sock_connect, sock_read=IDLE_TIMEOUT_SECONDS
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def ask(
        self, method: str, target: str, headers: CIMultiDict[str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        """The service's answer, whatever its status, the body yet to be read. `target` goes out byte for byte.

        Raises UpstreamUnreachable, UpstreamTimeout or UpstreamFault, which name the service.
        """
        try:
            with deadline(ANSWER_TIMEOUT_SECONDS):
                return await self._session.request(
                    method,
                    # An origin of ours and a path that begins with a slash: nothing in it can change the host.
                    URL(self._origin + target, encoded=True),
                    headers=headers,
                    skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                    data=body,
                    allow_redirects=False,
                    timeout=self._timeout,
                )
        except UpstreamTimeout:
            raise UpstreamTimeout(f"The {self._service} did not answer in time.") from None
        except UpstreamUnreachable:
            raise UpstreamUnreachable(f"The {self._service} cannot be reached.") from None
        except UpstreamFault:
            raise UpstreamFault(f"The {self._service} gave an answer that is not HTTP.") from None


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
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        log.info("request.left", host=answer.url.host)


async def _next_chunk(answer: aiohttp.ClientResponse) -> bytes:
    try:
        return await answer.content.readany()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise UpstreamFault(type(error).__name__) from error

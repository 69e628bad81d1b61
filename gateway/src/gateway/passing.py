"""The hop to a service over aiohttp's client session, until the hop of our own takes its place."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gateway.routes import Service
from service_kit.client import deadline, open_session
from service_kit.errors import UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from service_kit.metrics import Metrics

IDLE_TIMEOUT_SECONDS = 30.0
"""Between two parts of an answer's body."""
_SAFE_METHODS = frozenset({"GET", "HEAD"})


class HopRequest(NamedTuple):
    """What is asked of a service; `target` goes out byte for byte."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes | None


class HopAnswer:
    """A service's answer, whatever its status, the body yet to be read."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers = list(answer.headers.items())
        self.content_length = None if "Transfer-Encoding" in answer.headers else answer.content_length

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises UpstreamFault when it is cut or larger."""
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > limit_bytes:
                self.close()
                raise UpstreamFault(f"The upstream's answer is larger than {limit_bytes} bytes.")
        return bytes(body)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises UpstreamFault when it is cut."""
        # Not aiohttp's `sock_read`: on a malformed chunk aiohttp 3.14 closes the connection without telling the reader.
        try:
            while True:
                async with asyncio.timeout(IDLE_TIMEOUT_SECONDS):
                    chunk = await self._answer.content.readany()
                if not chunk:
                    return
                yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamFault(type(error).__name__) from error

    def close(self) -> None:
        """End the exchange; what was not read will not be."""
        if self._answer.content.is_eof():
            self._answer.release()
        else:
            self._answer.close()


class Hop:
    """One service: its address, and connections of its own, so that a dead one cannot use up another's."""

    def __init__(self, service: Service, url: str, metrics: Metrics) -> None:
        self._service = service
        self._origin = url
        self._session = open_session(metrics, checked=False, decompress=False)

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def start(self) -> None:
        """Nothing to do yet."""

    async def send(self, request: HopRequest, *, timeout_seconds: float) -> HopAnswer:
        """The service's answer, whatever its status, the body yet to be read.

        Raises UpstreamUnreachable, UpstreamTimeout or UpstreamFault, which name the service.
        """
        # An origin of ours and a path that begins with a slash: nothing in it can change the host.
        url = URL(self._origin + request.target, encoded=True)
        try:
            with deadline(timeout_seconds):
                try:
                    return HopAnswer(await self._send(request, url))
                except UpstreamUnreachable as error:
                    if request.method not in _SAFE_METHODS or not _is_broken(error):
                        raise
                    return HopAnswer(await self._send(request, url))
        except UpstreamTimeout:
            raise UpstreamTimeout(f"The {self._service} did not answer in time.") from None
        except UpstreamUnreachable:
            raise UpstreamUnreachable(f"The {self._service} cannot be reached.") from None
        except UpstreamFault:
            raise UpstreamFault(f"The {self._service} gave an answer that is not HTTP.") from None

    async def _send(self, request: HopRequest, url: URL) -> aiohttp.ClientResponse:
        return await self._session.request(
            request.method,
            url,
            headers=CIMultiDict(request.headers),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            data=request.body,
            allow_redirects=False,
        )


def _is_broken(error: UpstreamUnreachable) -> bool:
    """Whether there was a connection: perhaps a kept one that the service was closing just then (RFC 9112, 9.3.1)."""
    cause = error.__cause__
    return isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, aiohttp.ClientConnectorError)

"""A closed-loop HTTP load driver: each of N kept connections sends its next request when its answer is complete.

Raw sockets, no HTTP library: it must cost less than what it measures.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import cast
from urllib.parse import urlsplit

HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"


class UnexpectedAnswer(Exception):
    """Not what a benchmark may count: another status, another length, or no length; the text says which."""


@dataclass(frozen=True)
class Load:
    """What one run saw: how long each request took, and how long all took together."""

    latencies_seconds: list[float]
    elapsed_seconds: float

    @property
    def requests_per_second(self) -> float:
        """Complete answers a second."""
        return len(self.latencies_seconds) / self.elapsed_seconds

    def percentile_ms(self, percent: float) -> float:
        """The latency in ms that `percent` of the requests did not exceed."""
        return percentile(self.latencies_seconds, percent) * 1000


def percentile(values: Sequence[float], percent: float) -> float:
    """What `percent` of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(ceil(len(ranked) * percent / 100), 1) - 1]


async def drive(url: str, *, concurrency: int, seconds: float) -> Load:
    """GET a URL over `concurrency` connections for `seconds`. Raises UnexpectedAnswer, OSError if nobody listens."""
    return await _drive([url] * concurrency, seconds)


async def rush(urls: Sequence[str]) -> Load:
    """GET each URL once, all at the same moment, each over a connection of its own. Raises as `drive`."""
    return await _drive(urls, 0)


async def _drive(urls: Sequence[str], seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    connections: list[_Connection] = []
    try:
        for url in urls:
            parts = urlsplit(url)
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: */*\r\n\r\n".encode()
            _, connection = await loop.create_connection(
                partial(_Connection, request), parts.hostname or "", parts.port or 80
            )
            connections.append(connection)
        started = time.perf_counter()
        for connection in connections:
            connection.begin(started + seconds)
        await asyncio.gather(*(connection.ended for connection in connections))
        elapsed_seconds = time.perf_counter() - started
    finally:
        for connection in connections:
            connection.close()
    return Load([latency for connection in connections for latency in connection.latencies_seconds], elapsed_seconds)


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self.latencies_seconds: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._answer = bytearray()
        self._answer_size = 0  # bytes, 0 while the head is not complete
        self._first_size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def begin(self, end: float) -> None:
        """Send requests until `end` (time.perf_counter)."""
        self._end = end
        self._send()

    def close(self) -> None:
        """Close the connection, whatever is under way."""
        self.ended.cancel()
        self._transport.abort()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer_size:
            try:
                self._answer_size = _size(self._answer)
            except UnexpectedAnswer as error:
                self._fail(error)
                return
        if not self._answer_size or len(self._answer) < self._answer_size:
            return
        now = time.perf_counter()
        self.latencies_seconds.append(now - self._sent_at)
        self._answer.clear()
        self._answer_size = 0
        if now < self._end:
            self._send()
        elif not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(UnexpectedAnswer(f"the connection was closed: {exc}"))

    def _fail(self, error: UnexpectedAnswer) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)


def _size(answer: bytearray) -> int:
    """How many bytes the answer has, head and body; 0 while its head is not complete. Raises UnexpectedAnswer."""
    end = answer.find(HEAD_END)
    if end < 0:
        return 0
    head = bytes(answer[:end])
    if not head.startswith(b"HTTP/1.1 200 "):
        raise UnexpectedAnswer(head.partition(b"\r\n")[0].decode("latin-1"))
    found = head.lower().find(LENGTH)
    if found < 0:
        raise UnexpectedAnswer("an answer without Content-Length")
    value = head[found + len(LENGTH) :].partition(b"\r\n")[0]
    return end + len(HEAD_END) + int(value)

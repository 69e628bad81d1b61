"""Answers as bytes on a caller's connection: whole, or a head and a body that is sent on as it comes."""

import socket
import struct
from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus

from aiohttp import HttpVersion11

from gateway.connections import Connection
from gateway.exchange import Exchange

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s
BODILESS = frozenset({204, 304})
_STATUS_LINES: dict[int, str] = {
    status: f"HTTP/1.1 {status:d} {HTTPStatus(status).phrase}\r\n" for status in HTTPStatus.__members__.values()
}


class Answer:
    """An answer that is all there: its bytes, head and body."""

    __slots__ = ("data", "status")

    def __init__(self, status: int, data: bytes) -> None:
        self.status = status
        self.data = data

    async def send(self, exchange: Exchange) -> None:
        """Send it. Raises ConnectionError when the caller is gone."""
        exchange.write(self.data)
        if exchange.connection.writing_paused:
            await exchange.connection.drain()


class StreamedAnswer:
    """An answer whose body is what `chunks` give, each no sooner than the caller has taken the one before.

    `content_length` is their sum where it is known; `lines` are header lines, to which the framing is added.
    """

    __slots__ = ("_chunks", "_length", "_lines", "status")

    def __init__(self, status: int, lines: str, chunks: AsyncIterator[bytes], content_length: int | None) -> None:
        self.status = status
        self._lines = lines
        self._chunks = chunks
        self._length = content_length

    async def send(self, exchange: Exchange) -> None:
        """Send all of it.

        Raises ConnectionError when the caller is gone, and what `chunks` raise: then `cut` is what is left to do.
        """
        is_bodiless = exchange.method == "HEAD" or self.status in BODILESS
        is_chunked = self._length is None and not is_bodiless and exchange.version >= HttpVersion11
        lines = self._lines + "Transfer-Encoding: chunked\r\n" if is_chunked else self._lines
        has_end = self._length is not None or is_chunked or is_bodiless
        exchange.write(head(exchange, self.status, lines, self._length, has_end=has_end))
        if is_bodiless:
            return
        async for chunk in self._chunks:
            exchange.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked else chunk)
            await exchange.connection.drain()
        if is_chunked:
            exchange.write(b"0\r\n\r\n")


def whole(exchange: Exchange, status: int, lines: str, body: bytes) -> Answer:
    """An answer with these header lines, to which the framing is added."""
    data = head(exchange, status, lines, len(body))
    return Answer(status, data if exchange.method == "HEAD" or status in BODILESS else data + body)


def head(exchange: Exchange, status: int, lines: str, length: int | None, *, has_end: bool = True) -> bytes:
    """An answer's head; without an end of its own, the body ends with the connection."""
    first = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    if length is not None and status not in BODILESS:
        lines += f"Content-Length: {length}\r\n"
    return f"{first}{lines}{exchange.connection_line(has_end=has_end)}\r\n".encode()


def lines_of(fields: Iterable[tuple[str, str]]) -> str:
    """Header fields as they go out."""
    return "".join([f"{name}: {value}\r\n" for name, value in fields])


def cut(connection: Connection) -> None:
    """Break the connection off, when an answer cannot be sent to its end."""
    # Not only closed: to an HTTP/1.0 caller an orderly end would be the answer's end.
    transport = connection.transport
    if transport is None:
        return
    opened = transport.get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()

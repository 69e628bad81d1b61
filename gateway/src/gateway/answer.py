"""An answer to a caller, as bytes on its connection: the head, then the body whole or as it comes."""

import socket
import struct
from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.web_request import BaseRequest

from gateway.connections import Connection

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 s
_BODILESS = frozenset({204, 304})
_STATUS_LINES: dict[int, bytes] = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
    for status in HTTPStatus.__members__.values()
}


class OnWire(web.StreamResponse):
    """What aiohttp's server takes for a response, and we write ourselves: none of aiohttp's header objects are made."""

    def __init__(self, status: int) -> None:
        # Not the parent's: it makes what is not used here.
        self.code = status
        self.sent_bytes = 0
        self._is_sent = False
        self._keeps_alive = False

    @property
    def keep_alive(self) -> bool:
        """Whether the connection is to take another request; known once the answer is sent."""
        return self._keeps_alive

    async def prepare(self, request: BaseRequest) -> None:
        """Send it, whole; aiohttp's server calls this too, and once it is sent nothing more happens.

        Raises ConnectionError when the caller is gone, and what `chunks` raise: then `cut` is what is left to do.
        """
        if not self._is_sent:
            self._is_sent = True
            await self._send(request)

    async def _send(self, request: BaseRequest) -> None:
        raise NotImplementedError

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: `prepare` has sent all."""

    def _write(self, request: BaseRequest, data: bytes) -> None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller is gone")
        transport.write(data)
        request.writer.output_size += len(data)
        self.sent_bytes += len(data)


class ReadyAnswer(OnWire):
    """Bytes that are an answer, head and all."""

    def __init__(self, status: int, data: bytes) -> None:
        super().__init__(status)
        self._data = data

    async def _send(self, request: BaseRequest) -> None:
        self._keeps_alive = stays_open(request)
        self._write(request, self._data)
        await request.writer.drain()


class Answer(OnWire):
    """An answer with `headers` and `lines`, which are header lines already; the framing and `Connection` are added.

    With `chunks` the body is what they give, each no sooner than the caller has taken the one before; `content_length`
    is their sum where it is known.
    """

    def __init__(
        self,
        status: int,
        headers: Iterable[tuple[str, str]],
        body: bytes = b"",
        *,
        lines: str = "",
        chunks: AsyncIterator[bytes] | None = None,
        content_length: int | None = None,
    ) -> None:
        super().__init__(status)
        self._fields = headers
        self._lines = lines
        self._whole = body
        self._chunks = chunks
        self._length = content_length if chunks is not None else len(body)

    async def _send(self, request: BaseRequest) -> None:
        is_bodiless = request.method == "HEAD" or self.code in _BODILESS
        is_chunked = self._length is None and not is_bodiless and request.version >= HttpVersion11
        has_end = self._length is not None or is_chunked or is_bodiless
        self._keeps_alive = has_end and stays_open(request)
        head = self._head(request, is_chunked=is_chunked)
        writer = request.writer
        if self._chunks is None or is_bodiless:
            self._write(request, head if is_bodiless else head + self._whole)
            await writer.drain()
            return
        self._write(request, head)
        async for chunk in self._chunks:
            self._write(request, b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked else chunk)
            await writer.drain()
        if is_chunked:
            self._write(request, b"0\r\n\r\n")

    def _head(self, request: BaseRequest, *, is_chunked: bool) -> bytes:
        lines = [f"{name}: {value}\r\n" for name, value in self._fields]
        lines.append(self._lines)
        if is_chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        elif self._length is not None and self.code not in _BODILESS:
            lines.append(f"Content-Length: {self._length}\r\n")
        lines.append(connection_line(request, stays=self._keeps_alive))
        lines.append("\r\n")
        return (_STATUS_LINES.get(self.code) or b"HTTP/1.1 %d \r\n" % self.code) + "".join(lines).encode()


def stays_open(request: BaseRequest) -> bool:
    """Whether the connection may take another request after this one."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    return request.keep_alive and connection.stays


def connection_line(request: BaseRequest, *, stays: bool) -> str:
    """The field line that says what becomes of the connection; empty where HTTP's version says it."""
    if not stays:
        return "Connection: close\r\n"
    return "Connection: keep-alive\r\n" if request.version < HttpVersion11 else ""


def cut(request: BaseRequest) -> None:
    """Break the connection off, when an answer cannot be sent to its end."""
    # Not only closed: to an HTTP/1.0 caller an orderly end would be the answer's end.
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()

"""A GitHub on a bare socket that answers, or does not, in whatever way it is told."""

import asyncio
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable

import msgspec

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
MIB = 1024 * 1024


class BadGitHub:
    """Behaves as `behave` says, once the head of a request has come."""

    def __init__(self, behave: Behave) -> None:
        self.behave = behave
        self.asked = 0

    async def __aenter__(self) -> "BadGitHub":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            await self.behave(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # who asked has had enough
        finally:
            writer.close()


def answers(body: object, *headers: str, status: str = "200 OK", length: int | None = None) -> Behave:
    """A whole answer; what is not bytes is sent as JSON. `length` is what it says its length is."""
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    stated = len(encoded) if length is None else length
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {stated}", *headers]
    if not any(header.startswith("Content-Type") for header in headers):
        lines.append("Content-Type: application/json; charset=utf-8")

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join([*lines, "", ""]).encode() + encoded)
        await writer.drain()

    return behave


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Say nothing."""
    await reader.read()


def drip(beginning: bytes, pause_seconds: float = 0.02) -> Behave:
    """Send the beginning, then a byte at a time for ever."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        while True:
            await writer.drain()
            await asyncio.sleep(pause_seconds)
            writer.write(b"x")

    return behave


def too_much(mib: int) -> Behave:
    """So many MiB of spaces."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (mib * MIB))
        for _ in range(mib):
            writer.write(b" " * MIB)
            await writer.drain()

    return behave


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the connection with RST."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def bomb(encoding: str, inflated_mib: int, *, status: str = "200 OK") -> Behave:
    """Spaces without end before the JSON begins: a thousandth of what they inflate to."""
    # A block that ends on a byte's border, repeated: to compress gigabytes takes no time.
    compressor = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))
    head = compressor.compress(b" ") + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(b" " * MIB) + compressor.flush(zlib.Z_FULL_FLUSH)
    return answers(head + block * inflated_mib, f"Content-Encoding: {encoding}", status=status)

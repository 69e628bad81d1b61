"""A service that is nothing but a socket: it does with each request what the test says, and counts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


class RawUpstream:
    """Where it listens, and what came."""

    def __init__(self, behave: Behave, host: str) -> None:
        self.behave = behave
        """Called after each request's head, until it closes the writer; may be replaced at any time."""
        self.host = host
        self.port = 0
        self.connections = 0
        self.open_connections = 0
        self.heads: list[bytes] = []
        """Of the requests whose head came in whole, in the order of their coming."""

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    @property
    def asked(self) -> int:
        """How many requests came, those to see whether it lives left out."""
        return sum(not head.startswith(b"GET /health/live ") for head in self.heads)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
        self.connections += 1
        self.open_connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            while not writer.is_closing():
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await self.behave(reader, writer)
        self.open_connections -= 1
        writer.close()


@asynccontextmanager
async def raw_upstream(
    behave: Behave, host: str = "127.0.0.1", port: int = 0, tls: SSLContext | None = None
) -> AsyncIterator[RawUpstream]:
    """Listen until the context ends; then every connection is ended."""
    upstream = RawUpstream(behave, host)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await upstream.serve(reader, writer)
        finally:
            serving.discard(task)

    server = await asyncio.start_server(serve, host, port, ssl=tls)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving)


def sends(answer: bytes, *, then_closes: bool = False) -> Behave:
    """Answer every request with these bytes."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if then_closes:
            writer.close()

    return behave


async def hangs(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Answer nothing until the caller leaves."""
    while await reader.read(65536):
        pass
    raise ConnectionResetError

"""A service that is nothing but a socket: it does with each connection what the test says, and counts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawUpstream:
    """Where it listens, and what came."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.url = f"http://{host}:{port}"
        self.connections = 0
        self.heads: list[bytes] = []
        """Of the requests whose head came in whole, in the order of their coming."""


@asynccontextmanager
async def raw_upstream(behave: Behave, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[RawUpstream]:
    """Listen; `behave` is called after each request's head, until it closes the writer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.connections += 1
        try:
            while not writer.is_closing():
                upstream.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await behave(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, port)
    async with server:
        upstream = RawUpstream(host, server.sockets[0].getsockname()[1])
        yield upstream


def sends(answer: bytes) -> Behave:
    """Answer every request with these bytes, and keep the connection."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return behave


def sends_and_closes(answer: bytes) -> Behave:
    """Answer with these bytes and end the connection."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    return behave

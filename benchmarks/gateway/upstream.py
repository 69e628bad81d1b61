"""The service behind whatever is measured: the same 10 KB to everybody, at next to no cost.

`python -m benchmarks.gateway.upstream PORT`. What may be stored of its answers is in their path: anything below
/v1/trending and /v1/developers, and nothing else.
"""

import argparse
import asyncio
from typing import cast

import uvloop

from benchmarks.gateway.sample import BODY

HEAD_END = b"\r\n\r\n"
STORED = (b"GET /v1/trending", b"GET /v1/developers")


def _answer(cache_control: str) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(BODY)}\r\n"
        f"Cache-Control: {cache_control}\r\n"
        'ETag: W/"6da6f72c157f9e8be351b130"\r\n'
        "Cache-Status: wegit; hit; ttl=241\r\n"
        "Vary: Authorization\r\n"
        "Last-Modified: Fri, 27 Nov 2026 11:49:56 GMT\r\n"
        "Server: wegit\r\n\r\n"
    )
    return head.encode() + BODY


SHARED = _answer("public, max-age=3600, stale-while-revalidate=3600, stale-if-error=86400")
UNSHARED = _answer("private, no-store")


class Upstream(asyncio.Protocol):
    """One connection; requests have no bodies, and may come in pieces or several at once."""

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(HEAD_END)
        for head in whole:
            self._transport.write(SHARED if head.startswith(STORED) else UNSHARED)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway.upstream")
    parser.add_argument("port", type=int)
    uvloop.run(_serve(parser.parse_args().port))

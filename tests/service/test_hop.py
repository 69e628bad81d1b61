"""The hop to one service, against sockets that behave and sockets that do not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.hop.hop import Hop, HopRequest
from tests.fakes.raw_upstream import raw_upstream, sends

GET = HopRequest("GET", "/x?y=%20z", [("Accept", "*/*")], None)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


@asynccontextmanager
async def hop_to(url: str) -> AsyncIterator[Hop]:
    hop = Hop("repo-service", url)
    await hop.start()
    try:
        yield hop
    finally:
        await hop.close()


async def test_a_request_goes_out_as_it_came_and_the_answer_comes_back() -> None:
    async with raw_upstream(sends(OK)) as upstream, hop_to(upstream.url) as hop:
        answer = await hop.send(GET, timeout_seconds=5)
        assert (answer.status, await answer.read(100)) == (200, b"[]")
        assert answer.headers == [("Content-Length", "2")]
        expected = f"GET /x?y=%20z HTTP/1.1\r\nHost: 127.0.0.1:{upstream.port}\r\nAccept: */*\r\nX-Request-Timeout-Ms: "
        assert upstream.heads[0].decode().startswith(expected)

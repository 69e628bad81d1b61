"""One HTTP server, whichever way a request takes through it: the same bytes with the fast path on and off."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway.fast_path import AIOHTTP_VERSION
from gateway.headers import SINGLE
from gateway.routes import Service
from tests.fakes.running_gateway import RunningGateway, running_gateway
from tests.fakes.waiting import until
from tests.service.test_gateway_hostile import REFUSED_BYTES, TOKEN

HIT = "/v1/developers/torvalds"
HEAD = f"GET {HIT} HTTP/1.1\r\nHost: x\r\n"
CLOSE = "Connection: close\r\n\r\n"
BODY = b'{"login": "torvalds"}'


@pytest.fixture(params=["on", "off"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[RunningGateway]:
    """With an answer in its cache."""
    async with running_gateway(gateway_fast_path=request.param) as running:

        async def answer(request: web.Request) -> web.Response:
            headers = {"Cache-Control": "max-age=60", "ETag": 'W/"1"'}
            body = BODY if request.raw_path == HIT else request.raw_path.encode()
            return web.Response(body=body, headers=headers, content_type="application/json")

        running.services[Service.DEVELOPER].answer = answer
        await running.exchange((HEAD + CLOSE).encode())
        running.services[Service.DEVELOPER].seen.clear()
        yield running


def statuses(received: bytes) -> list[int]:
    return [int(one) for one in re.findall(rb"HTTP/1\.[01] (\d+) ", received)]


def test_the_fast_path_belongs_to_the_installed_aiohttp() -> None:
    import aiohttp

    assert aiohttp.__version__ == AIOHTTP_VERSION


async def test_requests_sent_at_once_are_answered_in_order(gateway: RunningGateway) -> None:
    paths = [HIT, HIT, "/v1/developers/a", HIT, "/nothing", "/v1/developers/b", HIT, HIT]
    sent = "".join(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: number-{n}\r\n\r\n" for n, path in enumerate(paths)
    )
    received = await gateway.exchange(
        (sent + f"GET {HIT} HTTP/1.1\r\nHost: x\r\nX-Request-Id: number-8\r\n{CLOSE}").encode()
    )
    assert re.findall(rb"X-Request-Id: number-(\d)", received) == [b"%d" % number for number in range(9)]
    assert statuses(received) == [200, 200, 200, 200, 404, 200, 200, 200, 200]


async def test_more_hits_at_once_than_the_parser_holds_are_all_answered(gateway: RunningGateway) -> None:
    received = await gateway.exchange(f"{HEAD}\r\n".encode() * 500 + (HEAD + CLOSE).encode())
    assert statuses(received) == [200] * 501


async def test_a_request_may_come_byte_by_byte(gateway: RunningGateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for byte in f"{HEAD}\r\n{HEAD}{CLOSE}".encode():
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        received = await reader.read()
    writer.close()
    assert statuses(received) == [200, 200]
    assert received.count(BODY) == 2


async def test_hits_and_misses_share_a_connection_that_stays_open(gateway: RunningGateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    async with asyncio.timeout(5):
        for path, length in [(HIT, len(BODY)), ("/v1/developers/c", 16), (HIT, len(BODY)), (HIT, len(BODY))]:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"Connection:" not in head
            assert len(await reader.readexactly(length)) == length
    writer.close()


@pytest.mark.parametrize(
    ("request_text", "status", "has_body"),
    [
        pytest.param(f"HEAD {HIT} HTTP/1.1\r\nHost: x\r\n", 200, False, id="HEAD"),
        pytest.param(f'{HEAD}If-None-Match: W/"1"\r\n', 304, False, id="304"),
        pytest.param(f'{HEAD}If-None-Match: W/"2"\r\n', 200, True, id="another tag"),
        pytest.param(f"{HEAD}Content-Length: 0\r\n", 200, True, id="an empty body"),
        pytest.param(f"{HEAD}Expect: nonsense\r\n", 417, False, id="a wrong expectation"),
        pytest.param(f"POST {HIT} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n", 405, False, id="POST"),
        pytest.param(f"OPTIONS {HIT} HTTP/1.1\r\nHost: x\r\n", 204, False, id="OPTIONS"),
        pytest.param(f"GET http://x{HIT} HTTP/1.1\r\nHost: x\r\n", 400, False, id="absolute form"),
        pytest.param(f"{HEAD}Host: y\r\n", 400, False, id="two hosts"),
        pytest.param(f"{HEAD}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400, False, id="two lengths"),
    ],
)
async def test_a_request_on_a_used_connection_has_its_one_answer(
    gateway: RunningGateway, request_text: str, status: int, has_body: bool
) -> None:
    """The first request on a connection never takes the fast path; the second may."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    async with asyncio.timeout(5):
        writer.write(f"{HEAD}\r\n".encode())
        await reader.readuntil(BODY)
        writer.write(f"{request_text}{CLOSE}".encode())
        received = await reader.read()
    writer.close()
    assert statuses(received) == [status]
    assert (BODY in received) is has_body
    assert b"X-Request-Id: " in received or status == 400


HOSTILE = {name: sent.replace(f"/v1/me?token={TOKEN}", HIT) for name, sent in REFUSED_BYTES.items()} | {
    f"two of {name}": f"{HEAD}{name.title()}: a\r\nX-A: b\r\n{name.upper()}: a\r\n\r\n" for name in sorted(SINGLE)
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_has_two_readings_is_no_hit(gateway: RunningGateway, sent: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    async with asyncio.timeout(5):
        writer.write(f"{HEAD}\r\n".encode())
        await reader.readuntil(BODY)
        writer.write(f"{sent}{HEAD}{CLOSE}".encode("latin-1"))
        received = await reader.read()
    writer.close()
    assert statuses(received) in ([400], [400, 200])  # what aiohttp's parser refuses ends the connection
    assert gateway.seen_by_all == []


@pytest.mark.parametrize("keeps", [False, True])
async def test_http_1_0_keeps_its_connection_only_when_asked(gateway: RunningGateway, keeps: bool) -> None:
    field = "Connection: keep-alive\r\n" if keeps else ""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    async with asyncio.timeout(5):
        writer.write(f"GET {HIT} HTTP/1.0\r\n{field}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert (b"Connection: keep-alive" if keeps else b"Connection: close") in head
        await reader.readexactly(len(BODY))
        if not keeps:
            assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("own", ["Authorization: x", "Cookie: a=1"])
async def test_who_says_who_he_is_is_not_answered_from_memory(gateway: RunningGateway, own: str) -> None:
    received = await gateway.exchange(f"{HEAD}\r\n{HEAD}{own}\r\n\r\n{HEAD}{CLOSE}".encode())
    assert statuses(received) == [200, 200, 200]
    assert len(gateway.seen_by_all) == 1


async def test_who_does_not_read_is_not_written_to_without_end(gateway: RunningGateway) -> None:
    async def long(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 100_000, headers={"Cache-Control": "max-age=60"})

    gateway.services[Service.DEVELOPER].answer = long
    path = "/v1/developers/long"
    await gateway.exchange(f"GET {path} HTTP/1.1\r\nHost: x\r\n{CLOSE}".encode())
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    count = 400  # 40 MB
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * count)
    connections = gateway.gateway.connections
    await until(lambda: any(one.writing_paused for one in connections._open))
    (open_one,) = [one for one in connections._open if one.writing_paused]
    assert open_one.transport is not None
    assert open_one.transport.get_write_buffer_size() < 1024 * 1024
    received = 0
    async with asyncio.timeout(20):
        while received < count * 100_000:
            received += len(await reader.read(1 << 20))
    writer.close()


async def test_hits_are_counted_and_logged_like_all_else(gateway: RunningGateway) -> None:
    await gateway.exchange(f"{HEAD}\r\n{HEAD}{CLOSE}".encode())
    cache = gateway.gateway.cache
    assert cache.answered["hit"] == 2

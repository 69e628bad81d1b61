"""Callers that are slow on purpose, by the thousand: each has his time, and the others notice nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from gateway import connections, front
from gateway.admission import CALLER_LIMIT
from gateway.routes import Service
from tests.fakes.running_gateway import RunningGateway, plain_session, running_gateway
from tests.fakes.waiting import until

SLOW_CALLERS = 1000
SLOW_ADDRESSES = 4
HEAD = b"GET /v1/me HTTP/1.1\r\nHost: x\r\nX-A: "
BODY = b"GET /v1/me HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
READ = b"GET /v1/developers/large HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE_CHUNKS = 500  # more than the system's buffers take


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.5)
    monkeypatch.setattr(connections, "READER_SECONDS", 1.5)
    monkeypatch.setattr(connections, "CLOSE_SECONDS", 0.5)
    monkeypatch.setattr(front, "REQUEST_BODY_TIMEOUT_SECONDS", 1.5)


@pytest.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    async with running_gateway(TRUSTED_PROXIES="127.0.0.1") as running:
        running.services[Service.DEVELOPER].answer = answer_large
        yield running


async def answer_large(request: web.Request) -> web.StreamResponse:
    if not request.path.endswith("large"):
        return web.Response(body=b"x" * 10)
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(LARGE_CHUNKS):
        await response.write(b"x" * 16_384)
    return response


class SlowCaller(asyncio.Protocol):
    """Sends a beginning, then a byte now and then; reads nothing where `reads` is false."""

    def __init__(self, beginning: bytes, *, reads: bool) -> None:
        self._beginning = beginning
        self._reads = reads
        self.received = b""
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._beginning)
        if not self._reads:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: BaseException | None) -> None:
        self.is_lost = True


@asynccontextmanager
async def slow_callers(
    port: int, beginning: bytes, *, reads: bool = True, drips: bool = True
) -> AsyncIterator[list[SlowCaller]]:
    loop = asyncio.get_running_loop()
    callers = []
    for number in range(SLOW_CALLERS):
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # What is left of it is in nobody's way, who wants to listen there.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((f"127.0.0.{number % SLOW_ADDRESSES + 2}", 0))
        opened.connect(("127.0.0.1", port))
        _, caller = await loop.create_connection(lambda: SlowCaller(beginning, reads=reads), sock=opened)
        callers.append(caller)

    async def drip() -> None:
        while drips:
            for caller in callers:
                if not caller.is_lost:
                    caller.transport.write(b"a")
            await asyncio.sleep(0.3)

    dripping = asyncio.create_task(drip())
    try:
        yield callers
    finally:
        dripping.cancel()
        for caller in callers:
            caller.transport.abort()


async def is_served(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{gateway.url}/v1/developers/small") as answer:
        assert (answer.status, await answer.read()) == (200, b"x" * 10)


async def serve_until(gateway: RunningGateway, holds: Callable[[], bool]) -> int:
    """Ask like anybody while it does not hold; how often there was an answer."""
    served = 0
    async with plain_session() as session, asyncio.timeout(20):
        while not holds():
            await is_served(gateway, session)
            served += 1
    return served


async def test_heads_that_drip_are_ended_while_others_are_served(gateway: RunningGateway) -> None:
    async with slow_callers(gateway.port, HEAD) as callers:
        assert await serve_until(gateway, lambda: all(caller.is_lost for caller in callers)) > 10
        assert {caller.received[:13] for caller in callers} == {b"HTTP/1.1 408 "}
        assert all(b"\r\nX-Request-Id: " in caller.received for caller in callers)
    assert gateway.gateway.connections.cut_heads == SLOW_CALLERS


async def test_bodies_that_drip_are_ended_while_others_are_served(gateway: RunningGateway) -> None:
    async with slow_callers(gateway.port, BODY) as callers:
        await serve_until(gateway, lambda: all(b" 408 " in caller.received for caller in callers))
    assert gateway.services[Service.DEVELOPER].targets.count("/v1/me") == 0


async def test_readers_that_do_not_read_are_ended_while_others_are_served(gateway: RunningGateway) -> None:
    connected, gate = gateway.gateway.connections, gateway.gateway.admission.gates[Service.DEVELOPER]
    async with slow_callers(gateway.port, READ, reads=False, drips=False):
        # Some are refused, for their address has asked for so much at once.
        assert await serve_until(gateway, lambda: connected.cut_readers + gate.refused == SLOW_CALLERS) > 10
        assert connected.cut_readers >= CALLER_LIMIT * SLOW_ADDRESSES
        await until(lambda: gate.under_way == 0)


async def test_who_says_nothing_is_ended_in_a_crowd(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CROWDED_IDLE_SECONDS", 0.5)
    gateway.gateway.connections.limit = SLOW_CALLERS
    async with slow_callers(gateway.port, b"", drips=False) as callers:
        await until(lambda: sum(caller.is_lost for caller in callers) > SLOW_CALLERS // 4)
        assert await serve_until(gateway, lambda: not gateway.gateway.connections.is_crowded) >= 0


async def test_one_connection_too_many_is_told_so() -> None:
    async with running_gateway() as gateway, AsyncExitStack() as stack:
        gateway.gateway.connections.limit = 2
        for _ in range(2):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            stack.callback(writer.close)
        await until(lambda: len(gateway.gateway.connections) == 2)
        assert (await gateway.exchange(b"")).startswith(b"HTTP/1.1 503 ")
        assert gateway.gateway.connections.refused == 1


async def test_one_address_cannot_take_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CALLER_LIMIT", 2)
    async with running_gateway() as gateway, AsyncExitStack() as stack:
        for _ in range(2):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            stack.callback(writer.close)
        await until(lambda: len(gateway.gateway.connections) == 2)
        assert (await gateway.exchange(b"")).startswith(b"HTTP/1.1 503 ")
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=("127.0.0.2", 0))
        stack.callback(writer.close)
        writer.write(b"GET /health-check HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")


async def test_a_connection_used_slowly_but_steadily_is_kept() -> None:
    async with running_gateway() as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        for part in (b"GET /health-check HT", b"TP/1.1\r\n", b"Host: x\r\n\r\n") * 3:
            writer.write(part)
            await asyncio.sleep(0.3)
        assert (await reader.readuntil(b'"ok"')).startswith(b"HTTP/1.1 200 ")
        assert gateway.gateway.connections.cut_heads == 0
        writer.close()

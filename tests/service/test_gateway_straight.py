"""Misses that go straight, and requests known byte for byte: what they skip, and that they are given up in order."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gateway.access_log import AccessLog
from gateway.cache import shared_cache
from gateway.exchange import Exchange
from gateway.fast_path import FastConnection
from gateway.front import Front
from gateway.hits import Hits
from gateway.outbox import Outbox
from gateway.routes import Service
from service_kit.request_id import current_request_id
from tests.fakes.running_gateway import RunningGateway, plain_session, running_gateway
from tests.fakes.waiting import until

KEPT = "/v1/developers/torvalds"


class Caller:
    """A connection that stays open; answers have a Content-Length."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def ask(self, path: str) -> tuple[int, bytes]:
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return await self.read()

    async def read(self) -> tuple[int, bytes]:
        async with asyncio.timeout(5):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length: ")[2].partition("\r")[0])
            return int(head.split()[1]), await self._reader.readexactly(length)


@pytest.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    """Its developer-service answers with the path, of which one may be kept."""
    async with running_gateway() as running:

        async def answer(request: web.Request) -> web.Response:
            lifetime = "max-age=60" if request.path == KEPT else "no-store"
            return web.Response(body=request.path.encode(), headers={"Cache-Control": lifetime})

        running.services[Service.DEVELOPER].answer = answer
        await running.warm_up()
        yield running


@asynccontextmanager
async def calling(gateway: RunningGateway) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()


def under_way(gateway: RunningGateway) -> int:
    return gateway.gateway.admission.gates[Service.DEVELOPER].under_way


class Held:
    """An answer that waits for its turn."""

    def __init__(self, body: bytes = b"held") -> None:
        self.asked, self.may_come = asyncio.Event(), asyncio.Event()
        self._body = body

    async def __call__(self, _request: web.Request) -> web.Response:
        self.asked.set()
        await self.may_come.wait()
        return web.Response(body=self._body, headers={"Cache-Control": "max-age=60"})


@asynccontextmanager
async def asking(gateway: RunningGateway, held: Held) -> AsyncIterator[tuple[Caller, FastConnection]]:
    """With a miss under way, straight."""
    async with calling(gateway) as caller:
        gateway.services[Service.DEVELOPER].answer = held
        caller.writer.write(b"GET /v1/developers/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            await held.asked.wait()
        (connection,) = gateway.gateway.connections._open
        assert isinstance(connection, FastConnection)
        assert connection._miss is not None
        yield caller, connection


async def test_a_miss_takes_no_task(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    served = []

    async def serve(_self: Front, exchange: Exchange) -> None:
        served.append(exchange.path)

    async with calling(gateway) as caller:
        await caller.ask("/v1/developers/0")
        for connection in gateway.gateway.connections._open:
            monkeypatch.setattr(connection, "_serve", serve.__get__(None, Front))
        for number in range(1, 6):
            assert await caller.ask(f"/v1/developers/{number}") == (200, f"/v1/developers/{number}".encode())
    assert served == []
    assert under_way(gateway) == 0


async def test_a_kept_connection_that_turns_out_to_be_closed_costs_a_second_try_and_no_answer() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2 if connections > 1 else 1):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok")
        if connections == 1:
            await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with running_gateway(developer_service_url=f"http://127.0.0.1:{port}") as gateway:
            await gateway.warm_up()
            async with calling(gateway) as caller:
                assert await caller.ask("/v1/developers/0") == (200, b"ok")
                assert await caller.ask("/v1/developers/1") == (200, b"ok")
            assert (connections, gateway.gateway.hops[Service.DEVELOPER].retries) == (2, 1)
            assert under_way(gateway) == 0


@pytest.mark.parametrize("does_fail", [False, True], ids=["before the answer", "as it goes the long way"])
async def test_a_caller_who_leaves_gives_his_place_back(gateway: RunningGateway, *, does_fail: bool) -> None:
    asked, gate = asyncio.Event(), asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        asked.set()
        await gate.wait()
        return web.Response(status=500)

    async with calling(gateway) as caller:
        await caller.ask("/v1/developers/0")
        gateway.services[Service.DEVELOPER].answer = answer
        caller.writer.write(b"GET /v1/developers/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            await asked.wait()
        assert under_way(gateway) == 1
        if does_fail:
            gate.set()
        caller.writer.transport.abort()
    await until(lambda: under_way(gateway) == 0 and len(gateway.gateway.connections) == 0)
    assert not gateway.gateway.cache._flights


async def test_what_comes_while_a_miss_is_under_way_is_answered_after_it(gateway: RunningGateway) -> None:
    paths = ["/v1/developers/1", KEPT, "/nothing", KEPT, "/v1/developers/2"]
    async with calling(gateway) as caller:
        await caller.ask("/v1/developers/0")
        for path in paths:
            caller.writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await asyncio.sleep(0)
        statuses = [(await caller.read())[0] for _ in paths]
    assert statuses == [200, 200, 404, 200, 200]


async def test_the_same_bytes_again_are_not_parsed_again(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Counter[str]()
    really_read = Hits.read

    def count(self: Hits, method: str, target: str, *others: object) -> object:
        read[target] += 1
        return really_read(self, method, target, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(Hits, "read", count)
    async with calling(gateway) as caller:
        answers = [await caller.ask(KEPT) for _ in range(6)]
    assert answers == [(200, KEPT.encode())] * 6
    assert read[KEPT] == 2  # the miss, and the first hit


async def test_a_request_that_cannot_come_again_makes_nobody_elses_forgotten(gateway: RunningGateway) -> None:
    async with calling(gateway) as caller:
        for number in range(3):
            own_id = f"X-Request-Id: number-{number}-of-many\r\n" if number else ""
            caller.writer.write(f"GET {KEPT} HTTP/1.1\r\nHost: x\r\n{own_id}\r\n".encode())
            assert (await caller.read())[0] == 200
        (connection,) = gateway.gateway.connections._open
        assert isinstance(connection, FastConnection)
        assert connection._known._wanted == {}


async def test_bytes_that_are_known_are_no_request_where_they_are_the_rest_of_another(gateway: RunningGateway) -> None:
    known = f"GET {KEPT} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with calling(gateway) as caller:
        for _ in range(3):
            assert await caller.ask(KEPT) == (200, KEPT.encode())
        caller.writer.write(known + b"GET /nothing HTTP/1.1\r\nX-Note: ")
        assert (await caller.read())[0] == 200
        caller.writer.write(known)  # its first line is the note's value, and its Host that of the other request
        assert (await caller.read())[0] == 404


async def test_after_a_request_with_a_body_all_else_is_answered_as_well(gateway: RunningGateway) -> None:
    async with calling(gateway) as caller:
        caller.writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        assert (await caller.read())[0] == 404
        for path, status in (("/v1/developers/1", 200), ("/nothing", 404), (KEPT, 200), (KEPT, 200)):
            assert (await caller.ask(path))[0] == status


@pytest.mark.parametrize("last", ["/nothing", "/v1/developers/1", KEPT])
async def test_what_is_behind_a_full_queue_is_answered_whatever_its_last_one_was(
    gateway: RunningGateway, last: str
) -> None:
    paths = [KEPT] * 31 + [last] + [KEPT] * 10
    async with calling(gateway) as caller:
        await caller.ask(KEPT)
        caller.writer.write(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
        assert [(await caller.read())[0] for _ in paths] == [404 if path == "/nothing" else 200 for path in paths]
        (connection,) = gateway.gateway.connections._open
        assert connection._head_since is None, "nothing has come of another request"


async def test_what_is_behind_a_full_queue_is_answered_to_who_reads_late(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write = Exchange.write

    def write(self: Exchange, data: bytes, outbox: Outbox | None = None) -> None:
        really_write(self, data, outbox)
        if self.path != KEPT:
            self.connection.pause_writing()
            asyncio.get_running_loop().call_soon(self.connection.resume_writing)

    paths = [KEPT] * 31 + ["/v1/developers/1"] + [KEPT] * 10
    async with calling(gateway) as caller:
        await caller.ask(KEPT)
        monkeypatch.setattr(Exchange, "write", write)
        caller.writer.write(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
        assert [(await caller.read())[0] for _ in paths] == [200] * 42


async def test_a_miss_under_way_is_no_idle_connection(gateway: RunningGateway) -> None:
    held = Held()
    async with asking(gateway, held) as (caller, connection):
        connection._next_keepalive_close_time = 0.0
        connection._process_keepalive()
        held.may_come.set()
        assert await caller.read() == (200, b"held")


@pytest.mark.parametrize("size_bytes", [10, 200_000], ids=["straight", "the long way"])
async def test_a_miss_under_way_is_answered_within_a_stops_grace(gateway: RunningGateway, size_bytes: int) -> None:
    held = Held(b"x" * size_bytes)
    async with asking(gateway, held) as (caller, connection):
        connection.close()
        stopping = asyncio.create_task(connection.shutdown(5))
        await asyncio.sleep(0)
        held.may_come.set()
        assert await caller.read() == (200, b"x" * size_bytes)
        await stopping
    assert under_way(gateway) == 0


async def test_nothing_is_logged_of_a_miss_under_another_requests_id(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = []
    really_note = AccessLog.note

    def note(self: AccessLog, exchange: Exchange, status: int) -> None:
        noted.append((exchange.path, current_request_id() in (None, exchange.request_id)))
        really_note(self, exchange, status)

    monkeypatch.setattr(AccessLog, "note", note)
    paths = [f"/v1/developers/{number}" for number in range(3)]
    async with running_gateway() as gateway, calling(gateway) as caller:
        for path in paths:  # the first one opens the connection that carries them all
            await caller.ask(path)
    assert noted == [(path, True) for path in paths]


async def test_who_waits_for_an_answer_that_cannot_be_taken_in_is_told(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held()

    def fail(*_arguments: object, **_named: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(shared_cache, "lifetime_of", fail)
    async with asking(gateway, held), calling(gateway) as other:
        other.writer.write(b"GET /v1/developers/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        flights = gateway.gateway.cache._flights
        await until(lambda: any(flight.waiting for flight in flights.values()))
        held.may_come.set()
        assert (await other.read())[0] == 500
    assert not flights


async def test_a_miss_that_is_refused_is_counted_once() -> None:
    async with running_gateway(rate_limit_per_minute="1") as gateway:
        await gateway.warm_up()
        async with calling(gateway) as caller:
            assert [(await caller.ask(f"/v1/developers/{number}"))[0] for number in range(2)] == [200, 429]
        async with plain_session() as session, session.get(f"{gateway.internal_url}/metrics") as metrics:
            assert 'gateway_rate_limited_total{limit="default"} 1.0' in await metrics.text()

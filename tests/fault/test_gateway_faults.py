"""Services that refuse, hang, lie or break off, and callers who leave: what the gateway makes of it. Real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import aiohttp
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import unused_port

from gateway import app, front
from gateway.hop import answer as hop_answer
from gateway.hop.hop import Hop
from gateway.routes import ROUTES, Service
from tests.fakes.running_gateway import RunningGateway, plain_session, running_gateway
from tests.fakes.waiting import until

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with plain_session() as opened:
        yield opened


@pytest.fixture(params=["straight", "the long way"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whether a connection is free, over which misses go straight (`gateway.straight`)."""
    token = is_straight.set(request.param == "straight")
    yield
    is_straight.reset(token)


is_straight = ContextVar("is_straight", default=False)


@asynccontextmanager
async def gateway_before(behave: Behave) -> AsyncIterator[RunningGateway]:
    """A gateway whose repo-service is a bare socket; `behave` is called once a request's head has come."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await behave(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", unused_port())
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with running_gateway(repo_service_url=f"http://127.0.0.1:{port}") as gateway:
            if is_straight.get():
                await gateway.warm_up()
            yield gateway


def sends(answer: bytes) -> Behave:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return behave


async def never_answer(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def problem_of(session: aiohttp.ClientSession, url: str) -> tuple[int, str, str]:
    async with session.get(url) as response:
        assert response.content_type == "application/problem+json"
        problem = await response.json(content_type=None)
        assert problem["request_id"] == response.headers["X-Request-Id"]
        return response.status, problem["code"], problem["detail"]


async def list_of(session: aiohttp.ClientSession, url: str) -> tuple[int, bytes, str]:
    async with session.get(url) as response:
        return response.status, await response.read(), response.content_type


async def test_a_service_that_refuses_is_a_502(session: aiohttp.ClientSession) -> None:
    address = f"127.0.0.1:{unused_port()}"
    async with running_gateway(search_service_url=f"http://{address}") as gateway:
        expected = (502, "upstream_unreachable", "The search-service cannot be reached.")
        assert await problem_of(session, f"{gateway.url}/v1/search/repositories") == expected
        for prefix in ("", "/gitter"):
            listed = await list_of(session, f"{gateway.url}{prefix}/search/repositories?name=x")
            assert listed == (502, b"[]", "application/json")
        async with session.get(f"{gateway.url}/v1/me") as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(b"", "upstream_unreachable", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Len", "upstream_unreachable", id="half a head"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "upstream_fault", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "upstream_fault", id="a length that is none"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "upstream_fault", id="a huge header"),
    ],
)
async def test_an_answer_that_is_none_is_a_502(session: aiohttp.ClientSession, answer: bytes, code: str) -> None:
    async with gateway_before(sends(answer)) as gateway:
        status, told, detail = await problem_of(session, f"{gateway.url}/v1/trending/repositories")
        assert (status, told) == (502, code)
        assert detail.startswith("The repo-service ")
        assert await list_of(session, f"{gateway.url}/gitter/trending-languages") == (502, b"[]", "application/json")


async def test_a_service_that_hangs_is_a_504(session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "ROUTES", tuple(route._replace(timeout_seconds=0.2) for route in ROUTES))
    async with gateway_before(never_answer) as gateway:
        expected = (504, "upstream_timeout", "The repo-service did not answer in time.")
        assert await problem_of(session, f"{gateway.url}/v1/trending/repositories") == expected
        for prefix in ("", "/gitter"):
            listed = await list_of(session, f"{gateway.url}{prefix}/trending-repositories")
            assert listed == (504, b"[]", "application/json")


async def test_a_hanging_service_takes_no_connection_from_another(session: aiohttp.ClientSession) -> None:
    async with gateway_before(never_answer) as gateway:
        waiting = [asyncio.create_task(_ask_for_trending(gateway)) for _ in range(120)]
        try:
            async with asyncio.timeout(5), session.get(f"{gateway.url}/v1/me") as response:
                assert response.status == 200
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def _ask_for_trending(gateway: RunningGateway) -> bytes:
    return await gateway.exchange(b"GET /trending-repositories HTTP/1.1\r\nHost: x\r\n\r\n", timeout_seconds=60)


CUT = [
    pytest.param(b"Content-Length: 100", b"[1, 2", id="short of its length"),
    pytest.param(b"Transfer-Encoding: chunked", b"5\r\n[1, 2\r\n", id="no last chunk"),
    pytest.param(b"Transfer-Encoding: chunked", b"5\r\n[1, 2\r\nzz\r\n", id="a broken chunk"),
]


@asynccontextmanager
async def gateway_before_cut(header: bytes, body: bytes) -> AsyncIterator[tuple[RunningGateway, asyncio.Event]]:
    """As `gateway_before`; the body, which ends too early, comes once the caller has set the event."""
    head_arrived = asyncio.Event()

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n\r\n")
        await head_arrived.wait()
        writer.write(body)
        await writer.drain()

    async with gateway_before(behave) as gateway:
        yield gateway, head_arrived


@pytest.mark.parametrize(("header", "body"), CUT)
async def test_an_answer_that_breaks_off_is_seen_to_break_off(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, header: bytes, body: bytes
) -> None:
    monkeypatch.setattr(hop_answer, "IDLE_TIMEOUT_SECONDS", 0.5)
    async with gateway_before_cut(header, body) as (gateway, head_arrived):
        with structlog.testing.capture_logs() as events:
            async with session.get(f"{gateway.url}/trending-repositories") as response:
                assert response.status == 200
                head_arrived.set()
                with pytest.raises(aiohttp.ClientError):
                    async with asyncio.timeout(5):
                        await response.read()
        assert [event["event"] for event in events if event["log_level"] == "warning"] == ["upstream.body_broken"]


@pytest.mark.parametrize(("header", "body"), CUT)
async def test_even_a_caller_without_lengths_sees_it(
    monkeypatch: pytest.MonkeyPatch, header: bytes, body: bytes
) -> None:
    """For HTTP/1.0 the connection's end is the answer's end: only a reset tells it from a cut."""
    monkeypatch.setattr(hop_answer, "IDLE_TIMEOUT_SECONDS", 0.5)
    async with gateway_before_cut(header, body) as (gateway, head_arrived):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /trending-repositories HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(5):
            await reader.readuntil(b"\r\n\r\n")
            head_arrived.set()
            with pytest.raises(ConnectionResetError):
                await reader.read()
        writer.close()


async def test_a_body_that_stops_coming_breaks_off(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hop_answer, "IDLE_TIMEOUT_SECONDS", 0.2)

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1, 2")
        await reader.read()

    async with gateway_before(stall) as gateway:
        with pytest.raises(aiohttp.ClientError):
            async with asyncio.timeout(5), session.get(f"{gateway.url}/trending-repositories") as response:
                await response.read()


async def test_an_answer_longer_than_its_length_ends_there(session: aiohttp.ClientSession) -> None:
    more = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n[poison]"
    async with gateway_before(sends(more)) as gateway:
        for _ in range(3):
            async with session.get(f"{gateway.url}/trending-repositories") as response:
                assert await response.read() == b"[]"


async def test_hints_before_the_answer_are_not_the_answer(session: aiohttp.ClientSession) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 50
    async with gateway_before(sends(hints + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")) as gateway:
        assert await list_of(session, f"{gateway.url}/trending-repositories") == (
            200,
            b"[]",
            "application/octet-stream",
        )


@pytest.mark.parametrize("caching", ["no-store", "max-age=60"])
@pytest.mark.parametrize("name", ["Date", "Server", "Content-Type", "ETag"])
async def test_what_a_service_says_twice_is_said_once(session: aiohttp.ClientSession, name: str, caching: str) -> None:
    said = f"Cache-Control: {caching}\r\n{name}: first\r\n{name.lower()}: second\r\nContent-Length: 2"
    async with gateway_before(sends(f"HTTP/1.1 200 OK\r\n{said}\r\n\r\n[]".encode())) as gateway:
        for _ in range(2):
            async with session.get(f"{gateway.url}/v1/trending/repositories") as answer:
                assert await answer.read() == b"[]"
                assert answer.headers.getall(name) == ["wegit" if name == "Server" else "first"]
                assert len(answer.headers.getall("Date")) == 1


async def test_headers_that_cannot_be_written_are_left_out(session: aiohttp.ClientSession) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Note: \xff\xfe\r\nX_Twin: 1\r\nMax-Page: 3\r\nContent-Length: 2\r\n\r\n[]"
    async with gateway_before(sends(head)) as gateway, session.get(f"{gateway.url}/trending-repositories") as response:
        assert (response.status, await response.read()) == (200, b"[]")
        assert response.headers["Max-Page"] == "3"
        assert not {"X-Note", "X_Twin"} & response.headers.keys()


@pytest.mark.parametrize("answer_first", [False, True], ids=["before the answer", "amid the answer"])
async def test_a_caller_who_leaves_ends_the_call(answer_first: bool) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer_first:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[")
        asked.set()
        assert await reader.read() == b""
        left.set()

    async with gateway_before(behave) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /trending-repositories HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            await asked.wait()
            if answer_first:
                await reader.readuntil(b"\r\n\r\n[")
        with structlog.testing.capture_logs() as events:
            writer.close()
            async with asyncio.timeout(5):
                await left.wait()
            await until(lambda: any(event["event"] == "request.answered" for event in events))
        assert "request.failed" not in {event["event"] for event in events}


async def test_a_body_that_never_comes_is_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "REQUEST_BODY_TIMEOUT_SECONDS", 0.2)
    async with running_gateway() as gateway:
        sent = b"GET /v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\nabc"
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(sent)
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
            await reader.read()  # to the end of the connection, which is not held for what does not come
        writer.close()
        assert gateway.seen_by_all == []


async def test_a_connection_gone_stale_is_replaced(session: aiohttp.ClientSession) -> None:
    """A service closes an idle connection just as the gateway reuses it: the caller does not notice."""
    served = 0

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        await reader.readuntil(b"\r\n\r\n")  # the next request comes, and the connection ends

    async with gateway_before(answer_once) as gateway:
        for _ in range(4):
            async with session.get(f"{gateway.url}/trending-repositories") as response:
                assert response.status == 200
    assert served >= 4


async def test_what_nobody_expected_reaches_the_notifier(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("no luck with token=S3cretS3cret")

    monkeypatch.setattr(Hop, "send", fail)
    async with running_gateway() as gateway:
        notifier = gateway.services[Service.NOTIFIER]
        notifier.answer = _be_unavailable
        assert (await problem_of(session, f"{gateway.url}/v1/me"))[:2] == (500, "internal_error")
        assert await list_of(session, f"{gateway.url}/gitter/search/repositories") == (500, b"[]", "application/json")
        await until(lambda: bool(notifier.seen))
        notifier.answer = _accept
        await until(lambda: len(notifier.seen) >= 2)
    assert {(one.method, one.target) for one in notifier.seen} == {("POST", "/internal/alerts")}
    alert = json.loads(notifier.seen[-1].body)
    assert (alert["service"], alert["error"]) == ("gateway", "RuntimeError")
    assert alert["message"] == "no luck with token=[redacted]"
    assert "S3cret" not in str(notifier.seen)


async def _be_unavailable(_request: web.Request) -> web.Response:
    return web.json_response({}, status=503)


async def _accept(_request: web.Request) -> web.Response:
    return web.json_response({"message_id": 1}, status=202)

"""The shared client: what it logs, checks, retries, and how failures are typed. On a real wire."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator

import pytest
import structlog
from aiohttp import ClientSession
from aiohttp.test_utils import unused_port

from service_kit.client import Reply, fetch, open_session
from service_kit.errors import UpstreamFault, UpstreamStatus, UpstreamTimeout, UpstreamUnreachable
from service_kit.metrics import Metrics
from tests.fakes.upstream import ScriptedUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as started:
        yield started


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session(Metrics(), tries=3) as opened:
        yield opened


async def ask(session: ClientSession, url: str, *, timeout_seconds: float = 5, limit: int = 1000) -> Reply:
    return await fetch(session, "GET", url, timeout_seconds=timeout_seconds, body_limit_bytes=limit)


async def test_a_good_answer_comes_back_whole(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/x", b"hello", headers={"ETag": '"1"'})
    reply = await ask(session, f"{upstream.url}/x")
    assert (reply.status, reply.body, reply.headers["ETag"]) == (200, b"hello", '"1"')


async def test_every_try_is_logged_and_the_query_is_not(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/x", status=503)
    upstream.answer("/x", b"hello")
    with structlog.testing.capture_logs() as events:
        await ask(session, f"{upstream.url}/x?token=secret")
    answered = [event for event in events if event["event"] == "upstream.answered"]
    assert [(event["method"], event["host"], event["path"], event["status"], event["try"]) for event in answered] == [
        ("GET", "127.0.0.1", "/x", 503, 1),
        ("GET", "127.0.0.1", "/x", 200, 2),
    ]
    assert all(event["duration_ms"] > 0 for event in answered)
    assert "secret" not in str(events)


async def test_a_secret_path_is_not_logged(upstream: ScriptedUpstream) -> None:
    upstream.answer("/services/T0/B0/hook", b"taken by /services/T0/B0/hook")
    async with open_session(Metrics(), path_is_secret=True) as session:
        with structlog.testing.capture_logs() as events:
            await ask(session, f"{upstream.url}/services/T0/B0/hook")
    assert [event["event"] for event in events if event["log_level"] == "info"] == ["upstream.answered"]
    assert "hook" not in str(events)


@pytest.mark.parametrize("status", [400, 401, 404, 500])
async def test_a_bad_status_is_an_error_with_headers_and_body(
    session: ClientSession, upstream: ScriptedUpstream, status: int
) -> None:
    upstream.answer("/x", b'{"message":"no"}', status=status, headers={"X-Why": "because"})
    with pytest.raises(UpstreamStatus) as caught:
        await ask(session, f"{upstream.url}/x")
    assert (caught.value.upstream_status, caught.value.headers["x-why"]) == (status, "because")
    assert caught.value.body == b'{"message":"no"}'
    assert len(upstream.asked) == 1


async def test_retries_end_with_the_last_answer(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/x", status=502)
    with pytest.raises(UpstreamStatus):
        await ask(session, f"{upstream.url}/x")
    assert len(upstream.asked) == 3


async def test_an_upstream_that_names_a_time_is_not_tried_again(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/x", status=503, headers={"Retry-After": "60"})
    with pytest.raises(UpstreamStatus):
        await ask(session, f"{upstream.url}/x")
    assert len(upstream.asked) == 1


async def test_a_redirect_comes_back_as_it_is(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/x", status=301, headers={"Location": "/y"})
    reply = await ask(session, f"{upstream.url}/x")
    assert (reply.status, reply.headers["Location"], len(upstream.asked)) == (301, "/y", 1)


async def test_a_refused_connection_is_typed(session: ClientSession) -> None:
    with structlog.testing.capture_logs() as events, pytest.raises(UpstreamUnreachable):
        await ask(session, f"http://127.0.0.1:{unused_port()}/x")
    assert {event["error"] for event in events if event["event"] == "upstream.failed"} == {"ConnectionRefusedError"}


async def test_an_unknown_name_is_typed(session: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(UpstreamUnreachable):
        await ask(session, "http://nowhere.invalid/x")


async def test_a_hanging_upstream_times_out_over_all_tries(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.hang("/x")
    started = asyncio.get_running_loop().time()
    with structlog.testing.capture_logs() as events, pytest.raises(UpstreamTimeout):
        await ask(session, f"{upstream.url}/x", timeout_seconds=0.2)
    assert asyncio.get_running_loop().time() - started < 2
    assert [event["error"] for event in events if event["event"] == "upstream.failed"] == ["timeout"]


async def test_a_cancelled_call_leaves_the_upstream(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.hang("/x")
    call = asyncio.create_task(ask(session, f"{upstream.url}/x", timeout_seconds=60))
    async with asyncio.timeout(5):
        while not upstream.asked:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await upstream.left_by_caller.wait()


async def test_a_cut_body_is_a_fault(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/x", b"half")
    upstream.cut("/x")
    with pytest.raises(UpstreamFault):
        await ask(session, f"{upstream.url}/x")


async def test_a_body_beyond_the_limit_is_a_fault(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/x", b"x" * 1001)
    with pytest.raises(UpstreamFault):
        await ask(session, f"{upstream.url}/x", limit=1000)


async def test_the_limit_counts_what_comes_out_of_the_compression(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/x", gzip.compress(b"x" * 5_000_000), headers={"Content-Encoding": "gzip"})
    with pytest.raises(UpstreamFault):
        await ask(session, f"{upstream.url}/x", limit=100_000)


async def test_broken_compression_is_a_fault(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/x", b"this is no gzip", headers={"Content-Encoding": "gzip"})
    with pytest.raises(UpstreamFault):
        await ask(session, f"{upstream.url}/x")


async def test_what_speaks_no_http_is_a_fault(session: ClientSession) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UpstreamFault):
            await ask(session, f"http://127.0.0.1:{port}/x")

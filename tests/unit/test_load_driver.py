"""The benchmarks' load driver counts complete, good answers and nothing else."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pytest_aiohttp import AiohttpServer

from benchmarks.driver import Load, UnexpectedAnswer, drive, rush

CONNECTIONS = web.AppKey("connections", list[object])
"""One entry an answer."""
QUERIES = web.AppKey("queries", list[str])


@pytest.fixture
async def server(aiohttp_server: AiohttpServer) -> TestServer:
    async def ok(request: web.Request) -> web.Response:
        request.app[CONNECTIONS].append(request.transport)
        request.app[QUERIES].append(request.query_string)
        return web.Response(body=b"x" * 300_000)  # in many pieces

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        return response

    app = web.Application()
    app[CONNECTIONS], app[QUERIES] = [], []
    app.router.add_get("/ok", ok)
    app.router.add_get("/stream", stream)
    return await aiohttp_server(app)


async def test_each_answer_is_counted_once_over_kept_connections(server: TestServer) -> None:
    load = await drive(str(server.make_url("/ok")), concurrency=3, seconds=0.05)
    answered = server.app[CONNECTIONS]
    assert len(load.latencies_seconds) == len(answered) >= 3
    assert len(set(answered)) == 3


async def test_a_rush_asks_each_url_once_with_its_query_and_over_its_own_connection(server: TestServer) -> None:
    load = await rush([str(server.make_url(f"/ok?n={number}")) for number in range(20)])
    assert len(load.latencies_seconds) == 20
    answered, queries = server.app[CONNECTIONS], server.app[QUERIES]
    assert len(set(answered)) == 20
    assert sorted(queries) == sorted(f"n={number}" for number in range(20))


async def test_bad_status_is_not_measured(server: TestServer) -> None:
    with pytest.raises(UnexpectedAnswer, match="404"):
        await drive(str(server.make_url("/missing")), concurrency=2, seconds=0.05)


async def test_answer_of_unknown_length_is_not_measured(server: TestServer) -> None:
    with pytest.raises(UnexpectedAnswer, match="Content-Length"):
        await drive(str(server.make_url("/stream")), concurrency=1, seconds=0.05)


@pytest.mark.parametrize(("percent", "milliseconds"), [(50, 2), (75, 3), (99, 4), (1, 1)])
def test_percentile_is_the_nearest_rank(percent: int, milliseconds: int) -> None:
    load = Load([0.004, 0.001, 0.003, 0.002], 1.0)
    assert load.percentile_ms(percent) == pytest.approx(milliseconds)

"""What every service's application does: ids, one log line a request, mapped errors, health, metrics."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, unused_port

from service_kit.app import create_app
from service_kit.errors import InvalidParameter, NotFound, UpstreamLimited
from service_kit.health import CHECKS, Check
from service_kit.server import make_runner

MakeClient = Callable[[web.Application], Awaitable["TestClient[web.Request, web.Application]"]]


async def fail_unexpectedly(_request: web.Request) -> web.Response:
    raise RuntimeError("the database password is hunter2")


async def fail_with_parameter(_request: web.Request) -> web.Response:
    raise InvalidParameter("page", "should be a whole number from 1.")


async def be_limited(_request: web.Request) -> web.Response:
    raise UpstreamLimited("GitHub's rate limit is used up.", retry_after_seconds=42)


async def be_missing(_request: web.Request) -> web.Response:
    raise NotFound("no such thing")


async def fail_halfway(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"half")
    raise RuntimeError("in the middle")


async def answer(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


async def read_body(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


@pytest.fixture
async def client(aiohttp_client: MakeClient) -> "TestClient[web.Request, web.Application]":
    app = create_app()
    app.router.add_get("/ok", answer)
    app.router.add_get("/unexpected", fail_unexpectedly)
    app.router.add_get("/parameter", fail_with_parameter)
    app.router.add_get("/limited", be_limited)
    app.router.add_get("/search/repositories", be_limited)
    app.router.add_get("/trending-repositories", fail_unexpectedly)
    app.router.add_get("/developers/{login}/events", be_missing)
    app.router.add_post("/body", read_body)
    return await aiohttp_client(app)


async def test_one_line_a_request_without_its_query(client: "TestClient[web.Request, web.Application]") -> None:
    with structlog.testing.capture_logs() as events:
        await client.get("/ok?token=secret")
    lines = [event for event in events if event["event"] == "request.answered"]
    assert [(line["method"], line["path"], line["route"], line["status"]) for line in lines] == [
        ("GET", "/ok", "/ok", 200)
    ]
    assert lines[0]["bytes"] > 0
    assert "secret" not in str(events)


async def test_a_well_formed_request_id_is_kept(client: "TestClient[web.Request, web.Application]") -> None:
    response = await client.get("/ok", headers={"X-Request-Id": "from-the-caller-1"})
    assert response.headers["X-Request-Id"] == "from-the-caller-1"


@pytest.mark.parametrize("offered", ["short", "x" * 65, "has space in it", "semi;colon-inside"])
async def test_another_request_id_is_replaced(client: "TestClient[web.Request, web.Application]", offered: str) -> None:
    response = await client.get("/ok", headers={"X-Request-Id": offered})
    assert response.headers["X-Request-Id"] != offered
    assert len(response.headers["X-Request-Id"]) == 32


async def test_an_unexpected_failure_tells_nothing(client: "TestClient[web.Request, web.Application]") -> None:
    response = await client.get("/unexpected")
    body = await response.text()
    assert response.status == 500
    assert response.content_type == "application/problem+json"
    assert "hunter2" not in body
    assert "Traceback" not in body
    assert response.headers["X-Request-Id"] in body


async def test_no_second_answer_follows_half_of_one() -> None:
    app = create_app()
    app.router.add_get("/halfway", fail_halfway)
    runner = make_runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port := unused_port()).start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /halfway HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            received = await reader.read()
        writer.close()
    finally:
        await runner.cleanup()
    assert received.endswith(b"\r\n\r\nhalf")


async def test_a_problem_names_the_parameter(client: "TestClient[web.Request, web.Application]") -> None:
    response = await client.get("/parameter")
    problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["code"], problem["parameter"]) == (400, "invalid_parameter", "page")
    assert problem["status"] == 400
    assert problem["title"] == "Bad Request"


async def test_a_limit_says_when_to_come_back(client: "TestClient[web.Request, web.Application]") -> None:
    response = await client.get("/limited")
    problem = await response.json(content_type="application/problem+json")
    assert (response.status, response.headers["Retry-After"], problem["retry_after"]) == (503, "42", 42)
    assert problem["code"] == "upstream_quota_exhausted"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/search/repositories", 503),
        ("GET", "/trending-repositories", 500),
        ("GET", "/developers/someone/events", 404),
        ("POST", "/trending-repositories", 405),
        ("GET", "/trending-developers", 404),
    ],
)
async def test_on_the_original_list_paths_every_error_is_an_empty_list(
    client: "TestClient[web.Request, web.Application]", method: str, path: str, status: int
) -> None:
    response = await client.request(method, path)
    assert (response.status, await response.read(), response.content_type) == (status, b"[]", "application/json")


async def test_a_wrong_method_names_the_right_ones(client: "TestClient[web.Request, web.Application]") -> None:
    response = await client.delete("/ok")
    assert response.status == 405
    assert response.headers["Allow"] == "GET,HEAD"
    assert (await response.json(content_type=None))["code"] == "method_not_allowed"


async def test_a_body_beyond_the_limit_is_refused(client: "TestClient[web.Request, web.Application]") -> None:
    response = await client.post("/body", data=b"x" * 65_537)
    assert response.status == 413


async def test_readiness_names_what_is_degraded(aiohttp_client: MakeClient) -> None:
    async def well() -> bool:
        return True

    async def failing() -> bool:
        raise OSError

    app = create_app()
    app[CHECKS] |= {"github": Check(failing), "database": Check(well)}
    client = await aiohttp_client(app)
    response = await client.get("/health/ready")
    assert (response.status, await response.json()) == (200, {"status": "ready", "degraded": ["github"]})
    app[CHECKS]["github"] = Check(failing, details=lambda: {"since": "today"})
    app[CHECKS]["database"] = Check(well, details=lambda: {"since": "never"})
    assert (await (await client.get("/health/ready")).json())["details"] == {"github": {"since": "today"}}
    app[CHECKS]["queue"] = Check(failing, essential=True)
    response = await client.get("/health/ready")
    assert (response.status, (await response.json())["status"]) == (503, "not_ready")


async def test_metrics_count_requests_by_route(client: "TestClient[web.Request, web.Application]") -> None:
    await client.get("/ok?x=1")
    await client.get("/nowhere/1")
    await client.request("BREW", "/ok")
    text = await (await client.get("/metrics")).text()
    assert 'http_request_duration_seconds_count{method="GET",route="/ok",status="200"} 1.0' in text
    assert 'route="unmatched",status="404"} 1.0' in text
    assert "BREW" not in text

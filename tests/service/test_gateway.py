"""The gateway between real callers and four fake services: what goes through it, and in which form. Real sockets."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from gateway import connections, front
from gateway.routes import ROUTES, Route, Service
from tests.fakes.raw_upstream import raw_upstream, sends
from tests.fakes.running_gateway import RunningGateway, plain_session, running_gateway

EXAMPLES = {"{login}": "torvalds", "{owner}": "mirrorhanyu", "{name}": "WeGit.x", "{id}": "7"}


@pytest.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    async with running_gateway() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with plain_session() as opened:
        yield opened


def example_of(route: Route) -> str:
    path = route.path
    for placeholder, example in EXAMPLES.items():
        path = path.replace(placeholder, example)
    return path


PATHS = [pytest.param(prefix, route, id=prefix + route.path) for route in ROUTES for prefix in route.prefixes]


@pytest.mark.parametrize(("prefix", "route"), PATHS)
async def test_every_endpoint_reaches_its_service(
    gateway: RunningGateway, session: aiohttp.ClientSession, prefix: str, route: Route
) -> None:
    path = example_of(route)
    own = {"Authorization": "0123456789abcdef0123456789abcdef01234567"}  # what is one caller's own goes on as it came
    for method in route.methods:
        url = f"{gateway.url}{prefix}{path}?name=c%2B%2B&page=2"
        async with session.request(method, url, headers=own) as response:
            assert response.status == 200
            assert response.headers["Content-Length"] == str(len('{"service": ""}') + len(route.service))
            assert response.headers["Cache-Control"] == "public, max-age=60"
            assert (await response.read() == b"") is (method == "HEAD")
    seen = gateway.services[route.service].seen
    assert [(one.method, one.target) for one in seen] == [
        (method, f"{path}?name=c%2B%2B&page=2") for method in route.methods
    ]
    assert len(gateway.seen_by_all) == len(route.methods)


def test_the_table_has_what_the_first_client_asks_for() -> None:
    assert {(route.path, route.service) for route in ROUTES if route.original} == {
        ("/trending-languages", Service.REPO),
        ("/trending-repositories", Service.REPO),
        ("/trending-developers", Service.DEVELOPER),
        ("/repositories", Service.REPO),
        ("/developers", Service.DEVELOPER),
        ("/developers/{login}/events", Service.DEVELOPER),
        ("/search/repositories", Service.SEARCH),
    }


@pytest.mark.parametrize("path", ["/health-check", "/gitter/health-check"])
async def test_the_health_check_is_the_gateways_own(
    gateway: RunningGateway, session: aiohttp.ClientSession, path: str
) -> None:
    async with session.get(gateway.url + path) as response:
        assert (response.status, await response.json()) == (200, "ok")
    assert gateway.seen_by_all == []


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/internal/alerts", "/gitter/internal/alerts", "/gitter/v1/me", "/gitter", "/v1/me/x"]
)
async def test_what_is_not_in_the_table_is_not_found(
    gateway: RunningGateway, session: aiohttp.ClientSession, path: str
) -> None:
    for method in ("GET", "POST"):
        async with session.request(method, gateway.url + path) as response:
            assert (response.status, response.content_type) == (404, "application/problem+json")
            problem = await response.json(content_type=None)
            assert problem["code"] == "not_found"
            assert problem["request_id"] == response.headers["X-Request-Id"]
    assert gateway.seen_by_all == []


async def test_metrics_and_health_are_on_the_internal_port_alone(
    gateway: RunningGateway, session: aiohttp.ClientSession
) -> None:
    for path in ("/metrics", "/health/live", "/health/ready"):
        async with session.get(gateway.internal_url + path) as response:
            assert response.status == 200
        async with session.get(gateway.url + path) as response:
            assert response.status == 404
    assert gateway.seen_by_all == []


async def test_an_open_door_leaves_the_internal_port_to_this_machine(session: aiohttp.ClientSession) -> None:
    async with running_gateway(host="0.0.0.0") as gateway:
        elsewhere = "127.0.0.2"  # as good as any other address of this machine
        async with session.get(f"http://{elsewhere}:{gateway.port}/health-check") as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(gateway.internal_url.replace("127.0.0.1", elsewhere) + "/metrics")


async def test_a_wrong_method_names_the_right_ones(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    async with session.delete(f"{gateway.url}/v1/me") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD,OPTIONS")
        assert (await response.json(content_type=None))["code"] == "method_not_allowed"
    assert gateway.seen_by_all == []


@pytest.mark.parametrize("prefix", ["", "/gitter"])
async def test_on_the_original_list_paths_the_gateways_errors_are_empty_lists(
    gateway: RunningGateway, session: aiohttp.ClientSession, prefix: str
) -> None:
    url = f"{gateway.url}{prefix}"
    for method, path, status in [
        ("POST", "/trending-languages", 405),
        ("GET", "/developers/%2e%2e/events", 400),
        ("GET", "/developers/%00/events", 400),
    ]:
        async with session.request(method, URL(url + path, encoded=True)) as response:
            assert (response.status, await response.read()) == (status, b"[]")
            assert response.content_type == "application/json"


async def test_headers_go_through_in_both_directions(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    async def answer(_request: web.Request) -> web.Response:
        headers = {"Max-Page": "7", "Link": '<?page=2>; rel="next"', "ETag": 'W/"1"', "Keep-Alive": "timeout=9"}
        return web.Response(status=203, text="[]", headers=headers)

    gateway.services[Service.SEARCH].answer = answer
    sent = {
        "Authorization": "0123456789abcdef0123456789abcdef01234567",
        "Accept": "text/html",
        "If-None-Match": 'W/"2"',
        "Accept-Encoding": "br;q=1.0, gzip",
        "User-Agent": "MicroMessenger",
        "X-Request-Id": "from-the-caller-1",
        "X-Forwarded-For": "203.0.113.9",
        "X-Secret-Note": "mine",
        "Connection": "X-Secret-Note",
    }
    async with session.get(f"{gateway.url}/v1/search/repositories?q=x", headers=sent) as response:
        assert response.status == 203
        received = response.headers
    assert (received["Max-Page"], received["ETag"], received["Link"]) == ("7", 'W/"1"', '<?page=2>; rel="next"')
    assert "Keep-Alive" not in received
    assert received["X-Request-Id"] == "from-the-caller-1"
    seen = gateway.services[Service.SEARCH].seen[0].headers.copy()
    assert 0 < int(seen.popone("X-Request-Timeout-Ms")) <= 15_000
    host = gateway.services[Service.SEARCH].url.removeprefix("http://")
    expected = {name: sent[name] for name in sent if name not in {"X-Forwarded-For", "X-Secret-Note", "Connection"}}
    expected |= {"Host": host, "X-Forwarded-For": "127.0.0.1"}
    assert {name.lower(): value for name, value in seen.items()} == {
        name.lower(): value for name, value in expected.items()
    }


async def test_nothing_is_added_for_a_caller_who_says_nothing(gateway: RunningGateway) -> None:
    received = await gateway.exchange(b"GET /v1/me HTTP/1.1\r\nHost: wegit.example\r\nConnection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    names = {name.lower() for name in gateway.services[Service.DEVELOPER].seen[0].headers}
    assert names == {"host", "x-forwarded-for", "x-request-id", "x-request-timeout-ms"}


async def test_a_trusted_proxy_is_believed(session: aiohttp.ClientSession) -> None:
    async with running_gateway(trusted_proxies="10.1.0.0/16, 127.0.0.1") as gateway:
        headers = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
        async with session.get(f"{gateway.url}/v1/me", headers=headers) as response:
            assert response.status == 200
        seen = gateway.services[Service.DEVELOPER].seen[0].headers
        assert seen["X-Forwarded-For"] == "198.51.100.7, 127.0.0.1"


async def test_an_encoded_body_stays_as_it_is(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    packed = gzip.compress(b"[]" * 1000)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})

    gateway.services[Service.REPO].answer = answer
    async with session.get(f"{gateway.url}/trending-repositories") as response:
        assert (response.headers["Content-Encoding"], response.headers["Vary"]) == ("gzip", "Accept-Encoding")
        assert response.headers["Content-Length"] == str(len(packed))
        assert await response.read() == packed


@pytest.mark.parametrize("status", [204, 301, 304, 401, 404, 429, 500, 503])
async def test_a_status_is_an_answer(gateway: RunningGateway, session: aiohttp.ClientSession, status: int) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/v1/me", "ETag": 'W/"1"'})

    gateway.services[Service.DEVELOPER].answer = answer
    async with session.get(f"{gateway.url}/v1/me", allow_redirects=False) as response:
        assert (response.status, await response.read()) == (status, b"")
        assert (response.headers["Location"], response.headers["ETag"]) == ("/v1/me", 'W/"1"')
    assert gateway.seen_by_all == ["/v1/me"]


async def test_an_answer_passes_as_it_comes(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    first_arrived = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await first_arrived.wait()
        await response.write(b"last")
        return response

    gateway.services[Service.REPO].answer = answer
    async with asyncio.timeout(5), session.get(f"{gateway.url}/trending-repositories") as response:
        assert await response.content.readany() == b"first"
        first_arrived.set()
        assert await response.read() == b"last"


async def test_a_large_answer_waits_for_its_reader(gateway: RunningGateway) -> None:
    """64 MB for a caller who does not read: the service is held back instead of the gateway filling its memory."""
    chunk, count, written = b"x" * 65_536, 1024, 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(headers={"Content-Length": str(len(chunk) * count)})
        await response.prepare(request)
        for _ in range(count):
            await response.write(chunk)
            written += len(chunk)
        return response

    gateway.services[Service.REPO].answer = answer
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /repositories HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    held_at = await steady(lambda: written)
    assert 0 < held_at < 24 * 1024 * 1024  # what sockets and buffers on two connections hold
    async with asyncio.timeout(20):
        await reader.readuntil(b"\r\n\r\n")
        received = 0
        while part := await reader.read(1 << 20):
            received += len(part)
    writer.close()
    assert received == len(chunk) * count


async def steady(measure: Callable[[], int]) -> int:
    """The measure once it has stopped to grow for 0.3 s."""
    last, quiet = measure(), 0
    async with asyncio.timeout(10):
        while quiet < 6 or last == 0:
            await asyncio.sleep(0.05)
            quiet = quiet + 1 if measure() == last else 0
            last = measure()
    return last


async def test_a_body_goes_on_whole(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    body = b"x" * 65_536
    async with session.post(f"{gateway.url}/v1/subscriptions", data=body) as response:
        assert response.status == 200
    assert gateway.services[Service.NOTIFIER].seen[0].body == body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_body_that_means_nothing_does_not_go_on(
    gateway: RunningGateway, session: aiohttp.ClientSession, method: str
) -> None:
    async with session.request(method, f"{gateway.url}/v1/me", data=b"GET / HTTP/1.1\r\n\r\n") as response:
        assert response.status == 200
    (seen,) = gateway.services[Service.DEVELOPER].seen
    assert (seen.body, "Content-Length" in seen.headers) == (b"", False)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_limit_is_refused(
    gateway: RunningGateway, session: aiohttp.ClientSession, chunked: bool
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"x" * 40_000
        yield b"x" * 40_000

    data = parts() if chunked else b"x" * 65_537
    async with session.get(f"{gateway.url}/v1/me", data=data) as response:
        assert response.status == 413
        assert (await response.json(content_type=None))["status"] == 413
    assert gateway.seen_by_all == []


@pytest.mark.parametrize(
    ("request_line", "sent", "status"),
    [
        ("GET /v1/me", 70_000, b"413"),
        ("GET /v1/me", 10, b"408"),
        ("POST /v1/me", 10, b"405"),
        ("POST /nothing", 10, b"404"),
        ("POST /v1//me", 10, b"400"),
        ("OPTIONS /v1/me", 10, b"204"),
    ],
)
async def test_who_is_answered_before_his_body_has_come_is_told_that_the_connection_ends(
    monkeypatch: pytest.MonkeyPatch, request_line: str, sent: int, status: bytes
) -> None:
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.1)
    monkeypatch.setattr(front, "REQUEST_BODY_TIMEOUT_SECONDS", 0.1 if status == b"408" else 60)
    async with running_gateway() as gateway:
        head = f"{request_line} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        received = await gateway.exchange(head.encode() + b"x" * sent)  # to the connection's end
    assert received.startswith(b"HTTP/1.1 " + status)
    assert received.count(b"\r\nConnection: close\r\n") == received.count(b"HTTP/1.1 ") == 1


async def test_a_body_that_nobody_wants_but_that_has_come_ends_no_connection(gateway: RunningGateway) -> None:
    request = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = await gateway.exchange(request + request + last)
    assert received.count(b"HTTP/1.1 404 ") == 3
    assert received.count(b"Connection: close") == 1


async def test_a_compressed_body_is_not_unpacked(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    bomb = gzip.compress(b"x" * 5_000_000)
    url = f"{gateway.url}/v1/subscriptions"
    async with session.post(url, data=bomb, headers={"Content-Encoding": "gzip"}) as response:
        assert response.status == 200
    seen = gateway.services[Service.NOTIFIER].seen[0]
    assert (seen.body, seen.headers["Content-Encoding"]) == (bomb, "gzip")


async def test_a_preflight_is_answered_from_the_table(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    headers = {
        "Origin": "https://wegit.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    async with session.options(f"{gateway.url}/gitter/developers/x/events?page=2", headers=headers) as response:
        assert (response.status, await response.read()) == (204, b"")
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
        allowed = response.headers["Access-Control-Allow-Headers"].split(", ")
        assert allowed == ["authorization", "accept", "content-type", "if-none-match", "x-request-id"]
        assert int(response.headers["Access-Control-Max-Age"]) > 0
    assert gateway.seen_by_all == []


async def test_every_answer_may_be_read_by_any_page(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    async def fail(_request: web.Request) -> web.Response:
        return web.Response(status=500, text="{}", headers={"Access-Control-Allow-Origin": "https://only.example"})

    gateway.services[Service.SEARCH].answer = fail
    await gateway.services[Service.REPO].server.close()
    for method, path, status in [
        ("GET", "/v1/me", 200),
        ("GET", "/health-check", 200),
        ("GET", "/nothing", 404),
        ("POST", "/v1/me", 405),
        ("GET", "/v1/%2e%2e", 400),
        ("GET", "/v1/search/repositories", 500),
        ("GET", "/repositories", 502),
    ]:
        url = URL(gateway.url + path, encoded=True)
        async with session.request(method, url) as response:
            assert response.status == status
            assert response.headers.getall("Access-Control-Allow-Origin") == ["*"]
            exposed = response.headers["Access-Control-Expose-Headers"]
            assert exposed == (
                "Max-Page, Link, ETag, Cache-Status, X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, Age"
            )


async def test_no_answer_tells_versions(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    for path in ("/v1/me", "/health-check", "/nothing"):
        async with session.get(gateway.url + path) as response:
            assert response.headers.getall("Server") == ["wegit"]
    assert b"\r\nServer: wegit\r\n" in await gateway.exchange(b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n")


async def test_readiness_names_services_that_are_away(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{gateway.internal_url}/health/ready") as response:
        assert (response.status, await response.json()) == (200, {"status": "ready", "degraded": []})
    await gateway.services[Service.SEARCH].server.close()
    await gateway.services[Service.NOTIFIER].server.close()
    async with session.get(f"{gateway.internal_url}/health/ready") as response:
        ready = await response.json()
    assert (response.status, ready["status"], ready["degraded"]) == (
        200,
        "ready",
        ["search-service", "notifier-service"],
    )


async def test_readiness_says_what_a_service_lacks_and_how_its_replicas_are(
    gateway: RunningGateway, session: aiohttp.ClientSession
) -> None:
    gateway.services[Service.NOTIFIER].degraded = ["database"]
    async with session.get(f"{gateway.internal_url}/health/ready") as response:
        ready = await response.json()
    assert (response.status, ready["degraded"]) == (200, ["notifier-service"])
    told = ready["details"]["notifier-service"]
    assert (told["status"], told["degraded"]) == ("not_ready", ["database"])
    address = gateway.services[Service.NOTIFIER].url.removeprefix("http://")
    assert [(one["address"], one["state"]) for one in told["replicas"]] == [(address, "active")]


@pytest.mark.parametrize("status", [200, 503])
async def test_a_service_whose_readiness_is_no_json_is_judged_by_its_status(
    session: aiohttp.ClientSession, status: int
) -> None:
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: 8\r\n\r\n<html></".encode()
    async with raw_upstream(sends(answer)) as upstream, running_gateway(search_service_url=upstream.url) as gateway:
        async with session.get(f"{gateway.internal_url}/health/ready") as response:
            ready = await response.json()
        assert (response.status, ready["status"]) == (200, "ready")
        assert ready["degraded"] == ([] if status == 200 else ["search-service"])
        assert status == 200 or list(ready["details"]["search-service"]) == ["replicas"]

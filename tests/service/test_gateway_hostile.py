"""Hostile bytes on a real socket: each is refused or passed on in its one reading, and leaves no trace."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.routes import Service
from tests.fakes.running_gateway import RunningGateway, running_gateway

TOKEN = "S3cretS3cretS3cretS3cretS3cretS3cretS3cr"
ME = f"GET /v1/me?token={TOKEN} HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = f"GET /v1/developers/smuggled?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    async with running_gateway() as running:
        yield running


# What arrives; where aiohttp would see nothing wrong, it asks for the connection's end.
REFUSED_BYTES = {
    # Two readings of where the body ends.
    "length and chunked": f"{ME}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "two lengths": f"{ME}Content-Length: 0\r\nContent-Length: {len(SMUGGLED)}\r\n\r\n{SMUGGLED}",
    "list of lengths": f"{ME}Content-Length: 0, 0\r\n\r\n{SMUGGLED}",
    "signed length": f"{ME}Content-Length: +0\r\n\r\n{SMUGGLED}",
    "space before colon": f"{ME}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "unknown coding": f"{ME}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "chunked is not last": f"{ME}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "chunked twice": f"{ME}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "chunk size with 0x": f"{ME}Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n{SMUGGLED}",
    "chunk extension with LF": f"{ME}Transfer-Encoding: chunked\r\n\r\n1;a\n\r\na\r\n0\r\n\r\n{SMUGGLED}",
    "chunk longer than its size": f"{ME}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n{SMUGGLED}",
    "chunked in HTTP/1.0": f"GET /v1/me HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "request behind a close": f"{ME}Connection: close\r\n\r\n{SMUGGLED}",
    # Two readings of where a line ends.
    "folded line": f"{ME}X-A: b\r\n c: d\r\n\r\n",
    "bare LF": ME.replace("\r\n", "\n") + "\n",
    "bare CR": f"{ME}X-A: b\rX-B: c\r\n\r\n",
    "NUL in a value": f"{ME}X-A: \0\r\n\r\n",
    "NUL in the target": f"GET /v1/me\0?token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n",
    "no HTTP version": f"GET /v1/me?token={TOKEN}\r\n\r\n",
    # Too much.
    "long header": f"{ME}X-A: {'a' * 100_000}\r\n\r\n",
    "many headers": ME + "".join(f"X-{number}: a\r\n" for number in range(200)) + "\r\n",
    "long target": f"GET /v1/me?token={TOKEN}{'a' * 10_000} HTTP/1.1\r\nHost: x\r\n\r\n",
    # Two readings of who is asked.
    "no host": f"GET /v1/me?token={TOKEN} HTTP/1.1\r\n\r\n",
    "two hosts": f"{ME}Host: y\r\n\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01",
}
BAD_TARGETS = [
    "http://evil.example/v1/me",
    "http://evil.example:99999/v1/me",
    "http://[::1/v1/me",
    "//evil.example/v1/me",
    "/v1//me",
    "/v1/../metrics",
    "/v1/%2e%2e/internal/alerts",
    "/v1/.%2E/me",
    "/v1/developers/..",
    "/v1\\me",
    "/v1/me#fragment",
    "/v1/developers/%0d%0aX-A:%20b",
    "/v1/developers/%00",
    "/v1/developers/a%2f..%2f..%2fmetrics",
    "/v1/developers/a%5c..",
    "/v1/developers/100%",
    "/v1/developers/%c",
    "/v1/developers/\xff",
    "@evil.example/v1/me",
    ":80/v1/me",
    "?",
    "*",
    "evil.example:443",
]
TWICE = ["Authorization", "Content-Type", "If-Modified-Since", "Range", "Referer", "User-Agent"]
REFUSED = REFUSED_BYTES | {
    f"two of {name}": f"{ME}{name}: {TOKEN}\r\nX-A: b\r\n{name.lower()}: {TOKEN}\r\nConnection: close\r\n\r\n"
    for name in TWICE
}
REFUSED |= {
    f"target {target}": f"GET {target}?token={TOKEN} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for target in BAD_TARGETS
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED.keys())
async def test_what_has_two_readings_is_refused_and_leaves_no_trace(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], sent: str
) -> None:
    with structlog.testing.capture_logs() as events:
        received = (await gateway.exchange(sent.encode("latin-1"))).decode("latin-1")
    assert received.split(" ", 2)[1] == "400"
    assert received.count("HTTP/") == 1
    for field in ("Access-Control-Allow-Origin: *", "X-Content-Type-Options: nosniff", "X-Request-Id: "):
        assert received.count(f"\r\n{field}") == 1
    assert '"status":400' in received
    assert gateway.seen_by_all == []
    assert len(events) == 1
    assert TOKEN[:8] not in received + str(events) + caplog.text + "".join(capfd.readouterr())


async def test_a_wrong_expectation_is_not_echoed(gateway: RunningGateway) -> None:
    for path, body in (("/v1/me", b'"code":"expectation_failed"'), ("/trending-languages", b"\r\n\r\n[]")):
        sent = f"GET {path} HTTP/1.1\r\nHost: x\r\nExpect: {TOKEN}\r\nConnection: close\r\n\r\n"
        received = await gateway.exchange(sent.encode())
        assert received.startswith(b"HTTP/1.1 417 ")
        assert body in received
        assert TOKEN.encode() not in received
    assert gateway.seen_by_all == []


CLOSE = "Connection: close\r\n\r\n"
PASSED_ONCE = {
    "body of a GET": f"{ME}Content-Length: {len(SMUGGLED)}\r\n{CLOSE}{SMUGGLED}",
    "chunked body of a GET": f"{ME}Transfer-Encoding: chunked\r\n{CLOSE}{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n",
    "wish to upgrade": f"{ME}Upgrade: h2c\r\nHTTP2-Settings: AAMA\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\r\n",
    "empty lines first": f"\r\n\r\n{ME}{CLOSE}",
    "HTTP/1.0": f"GET /v1/me?token={TOKEN} HTTP/1.0\r\n\r\n",
}


@pytest.mark.parametrize("sent", PASSED_ONCE.values(), ids=PASSED_ONCE.keys())
async def test_what_has_one_reading_is_one_request(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], sent: str
) -> None:
    with structlog.testing.capture_logs() as events:
        received = (await gateway.exchange(sent.encode())).decode()
    assert received.split(" ", 2)[1] == "200"
    assert received.count("HTTP/1.") == 1
    assert gateway.seen_by_all == [f"/v1/me?token={TOKEN}"]
    assert [event["event"] for event in events] == ["request.answered"]
    assert TOKEN[:8] not in received + str(events) + caplog.text + "".join(capfd.readouterr())


async def test_requests_sent_at_once_are_answered_in_order(gateway: RunningGateway) -> None:
    names = [f"name{number}" for number in range(20)]
    sent = "".join(f"GET /v1/developers/{name} HTTP/1.1\r\nHost: x\r\n\r\n" for name in names) + f"{ME}{CLOSE}"
    received = await gateway.exchange(sent.encode())
    assert received.count(b"HTTP/1.1 200 OK") == 21
    assert gateway.seen_by_all == [f"/v1/developers/{name}" for name in names] + [f"/v1/me?token={TOKEN}"]


def test_what_a_service_sees_is_what_came_or_nothing() -> None:
    """Whatever bytes stand for a name or a query."""
    loop = asyncio.new_event_loop()
    opened = running_gateway()
    gateway = loop.run_until_complete(opened.__aenter__())
    passed = refused = 0
    pieces = st.one_of(
        st.binary(max_size=4),
        st.sampled_from([b"..", b".", b"/", b"//", b"\\", b"%2e", b"%2E%2e", b"%2f", b"%0d%0a", b"%00", b"%", b"%41"]),
        st.sampled_from([b"?", b"#", b";", b"+", b"&", b"@", b":", b"[", b"|", b"http://e/", b"events", b"torvalds"]),
        st.text("abcXYZ019-_.~!$'()*,=", max_size=5).map(str.encode),
    )

    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(pieces, max_size=6).map(b"".join))
    def check(tail: bytes) -> None:
        nonlocal passed, refused
        target = b"/v1/developers/" + tail
        seen_before = len(gateway.seen_by_all)
        sent = b"GET %b HTTP/1.1\r\nHost: x\r\nAuthorization: x\r\nConnection: close\r\n\r\n" % target
        received = loop.run_until_complete(gateway.exchange(sent))
        seen = gateway.seen_by_all[seen_before:]
        if seen:
            passed += 1
            # An empty query goes on as none: the same to every reader.
            path, _, query = target.partition(b"?")
            assert [one.encode() for one in seen] == [path + b"?" + query if query else path]
            assert b" 200 " in received[:13]
        else:
            refused += 1
            assert received[9:13] in {b"400 ", b"404 "}

    try:
        check()
    finally:
        loop.run_until_complete(opened.__aexit__(None, None, None))
        loop.close()
    assert passed > 50
    assert refused > 50


def test_whatever_headers_come_a_service_sees_no_pretence_and_one_request() -> None:
    """Whatever bytes stand for names and values; what promises a body is in the table above."""
    loop = asyncio.new_event_loop()
    opened = running_gateway()
    gateway = loop.run_until_complete(opened.__aenter__())
    passed = refused = 0
    names = st.one_of(
        st.binary(min_size=1, max_size=6),
        st.from_regex(rb"[A-Za-z0-9-]{1,12}", fullmatch=True),
        st.sampled_from([b"Connection", b"X-Forwarded-For", b"X_Forwarded_For", b"X-User-Id", b"Via"]),
        st.sampled_from([b"Host", b"Expect", b"Upgrade", b"TE", b"X-Request-Timeout-Ms", b"Forwarded"]),
    )
    values = st.one_of(
        st.binary(max_size=8),
        st.sampled_from([b"close, X-Forwarded-For", b"chunked", b"0", b"1", b"100-continue", b"h2c", b"192.0.2.66"]),
    )
    lines = st.tuples(names, values).map(lambda field: b"%b: %b\r\n" % field)

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(lines, max_size=4).map(b"".join))
    def check(fields: bytes) -> None:
        nonlocal passed, refused
        service = gateway.services[Service.DEVELOPER]
        seen_before = len(gateway.seen_by_all)
        sent = b"GET /v1/developers/%d HTTP/1.1\r\nHost: x\r\nAuthorization: t\r\n%bConnection: close\r\n\r\n"
        received = loop.run_until_complete(gateway.exchange(sent % (passed, fields)))
        status = received.split(b" ", 2)[1]
        seen = gateway.seen_by_all[seen_before:]
        if status == b"200":
            passed += 1
            assert len(seen) == 1
            headers = service.seen[-1].headers
            assert headers.getall("X-Forwarded-For") == ["127.0.0.1"]
            assert not {"Forwarded", "X-User-Id", "Connection", "Transfer-Encoding", "TE", "Upgrade"} & set(headers)
            assert all(re.fullmatch("[A-Za-z0-9-]+", name) for name in headers)
        else:
            refused += 1
            assert (status, seen) in ((b"400", []), (b"417", []))

    try:
        check()
    finally:
        loop.run_until_complete(opened.__aexit__(None, None, None))
        loop.close()
    assert passed > 50
    assert refused > 50

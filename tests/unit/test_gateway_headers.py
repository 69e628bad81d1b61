"""Which header fields go on, and what `X-Forwarded-For` may say."""

import re
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.headers import (
    SECURITY_HEADERS,
    InvalidHeader,
    answer_headers,
    check_headers,
    forwarded_for,
    request_headers,
    with_one_reading,
)
from service_kit.patience import HEADER as TIMEOUT_HEADER

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
HOP_BY_HOP = [
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Authenticate", "Basic"),
    ("Proxy-Authorization", "Basic x"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "trailers"),
    ("Trailer", "X"),
    ("Transfer-Encoding", "chunked"),
    ("Upgrade", "websocket"),
    ("HTTP2-Settings", "x"),
]


def passed_on(*fields: tuple[str, str]) -> dict[str, str]:
    *headers, source, request_id = request_headers(fields, "192.0.2.1", "request-id-1")
    assert source == ("X-Forwarded-For", "192.0.2.1")
    assert request_id == ("X-Request-Id", "request-id-1")
    return dict(headers)


def answered(*fields: tuple[str, str]) -> list[tuple[str, str]]:
    return answer_headers(fields)


@pytest.mark.parametrize("field", HOP_BY_HOP, ids=lambda field: field[0])
def test_fields_of_one_connection_stay_on_it(field: tuple[str, str]) -> None:
    kept = ("Accept", "*/*")
    assert passed_on(field, kept) == {"Accept": "*/*"}
    assert answered(field, kept) == [kept]


def test_fields_named_by_connection_stay_on_it() -> None:
    fields = (("Connection", "close, X-One"), ("connection", "x-two"), ("X-One", "1"), ("X-TWO", "2"), ("X-Three", "3"))
    assert passed_on(*fields) == {"X-Three": "3"}
    assert answered(*fields) == [("X-Three", "3")]


def test_connection_cannot_name_what_the_gateway_adds() -> None:
    assert passed_on(("Connection", "X-Forwarded-For, X-Request-Id")) == {}


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "Forwarded",
        "X-Real-IP",
        "X-Request-Id",
        "X-Request-Timeout-Ms",
    ],
)
def test_a_caller_cannot_pretend_to_be_a_proxy(name: str) -> None:
    assert passed_on((name, "pretended"), (name.lower(), "again")) == {}


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Expect"])
def test_what_is_made_anew_for_the_next_hop_does_not_go_on(name: str) -> None:
    assert passed_on((name, "x")) == {}


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X_Request_Id", "X.Y", "X!", "Ä"])
def test_names_that_could_pass_for_others_do_not_go_on(name: str) -> None:
    assert passed_on((name, "x")) == {}


@pytest.mark.parametrize("value", ["a\x00b", "a\rb", "a\nb", "a\x1bb", "a\x7fb", "a\udcffb"])
def test_values_that_cannot_be_written_do_not_go_on(value: str) -> None:
    assert passed_on(("User-Agent", value)) == {}
    assert answered(("X-Note", value)) == []


def test_everything_else_goes_on_in_order_and_repeated() -> None:
    fields = (
        ("Content-Encoding", "gzip"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Max-Page", "7"),
        ("X-Note", "ä\t中"),
    )
    assert answered(*fields) == list(fields)


def test_what_the_gateway_says_itself_is_said_once() -> None:
    fields = (("Transfer-Encoding", "chunked"), ("Content-Length", "3"), ("Server", "x"), ("X-Request-Id", "y"))
    assert answered(*fields, ("Access-Control-Allow-Origin", "https://only.example")) == []


@pytest.mark.parametrize(
    ("peer", "offered", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7, 10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, 10.0.0.2"], "198.51.100.7, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7", "10.0.0.2"], "198.51.100.7, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7, 10.0.0.1"),
        ("10.0.0.1", ["10.9.9.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ['198.51.100.7, "evil'], "10.0.0.1"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7, fd00::1"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7, ::ffff:10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:5678"], "198.51.100.7, 10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7, 10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7, 10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:1, 198.51.100.7:2, 10.0.0.2:3"], "198.51.100.7, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:x"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:123456"], "10.0.0.1"),
        ("10.0.0.1", ["[198.51.100:443"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::7]443"], "10.0.0.1"),
        ("10.0.0.1", ["2001:db8::7.1:443"], "10.0.0.1"),
    ],
)
def test_an_address_is_believed_if_a_trusted_proxy_wrote_it(peer: str, offered: list[str], expected: str) -> None:
    assert forwarded_for(peer, offered, PROXIES) == expected


def test_nobody_is_trusted_unless_named() -> None:
    assert forwarded_for("127.0.0.1", ["198.51.100.7"], ()) == "127.0.0.1"


@pytest.mark.parametrize(
    "name",
    ["X-User-Id", "X-Remote-User", "Remote-User", "X-Auth-Token", "True-Client-IP", "X-Original-URL", "X-WeGit-A"],
)
def test_a_caller_cannot_pretend_to_be_somebody(name: str) -> None:
    assert passed_on((name, "pretended"), (name.lower(), "again")) == {}


def test_a_caller_cannot_say_how_long_the_gateway_waits() -> None:
    assert passed_on((TIMEOUT_HEADER, "1")) == {}


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("traceparent", "goes_on"),
    [
        (TRACE, True),
        (TRACE.upper(), False),
        ("ff" + TRACE[2:], False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", False),
        (TRACE + "-x", False),
        ("", False),
    ],
)
def test_a_trace_goes_on_if_it_is_well_formed(traceparent: str, goes_on: bool) -> None:
    fields = {"tracestate": "a=1", "traceparent": traceparent}
    assert passed_on(*fields.items()) == (fields if goes_on else {})


def test_a_trace_state_does_not_go_on_by_itself() -> None:
    assert passed_on(("tracestate", "a=1")) == {}


@pytest.mark.parametrize(
    "name", ["Authorization", "authorization", "Content-Type", "User-Agent", "X-Request-Id", "Range"]
)
def test_what_may_be_there_once_is_not_there_twice(name: str) -> None:
    check_headers([("Accept", "a"), (name, "one"), ("Accept", "b")])
    with pytest.raises(InvalidHeader) as raised:
        check_headers([(name, "secret-one"), (name.title(), "secret-two")])
    assert "secret" not in raised.value.detail


def test_a_service_does_not_speak_for_the_gateway() -> None:
    assert answered(*SECURITY_HEADERS, ("Content-Security-Policy", "default-src *")) == []


DATE = ("Date", "Fri, 27 Nov 2026 17:00:00 GMT")
ARRIVED = "Fri, 27 Nov 2026 18:00:00 GMT"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], [("Date", ARRIVED)]),
        ([("date", "x"), ("ETag", "a")], [("date", "x"), ("ETag", "a")]),
        ([DATE, ("date", "x")], [DATE]),
        ([("Content-Type", "a"), DATE, ("content-type", "b")], [("Content-Type", "a"), DATE]),
        ([DATE, ("Set-Cookie", "a"), ("Set-Cookie", "b")], [DATE, ("Set-Cookie", "a"), ("Set-Cookie", "b")]),
        (
            [("Vary", "a"), ("vary", "b"), ("Age", "1"), ("Age", "2")],
            [("Vary", "a"), ("vary", "b"), ("Age", "1"), ("Date", ARRIVED)],
        ),
    ],
)
def test_of_what_a_service_may_say_once_the_first_is_taken(
    given: list[tuple[str, str]], kept: list[tuple[str, str]]
) -> None:
    assert with_one_reading(given, ARRIVED) == kept


NAMES = st.one_of(
    st.text("abcXYZ019-_.!~ ", min_size=1, max_size=12),
    st.sampled_from(["Connection", "X-Forwarded-For", "Transfer-Encoding", "Content-Length", "X-User-Id", "Host"]),
)
VALUES = st.one_of(st.text(max_size=12), st.sampled_from(["close, X-A", "chunked", "x\r\nX-User-Id: 1", "127.0.0.1"]))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_whatever_is_offered_nothing_of_one_connection_and_nobody_pretended_goes_on(
    fields: list[tuple[str, str]],
) -> None:
    kept = request_headers(fields, "192.0.2.1", "request-id-1")
    names = [name.lower() for name, _ in kept]
    assert names.count("x-forwarded-for") == 1
    assert not {"connection", "transfer-encoding", "content-length", "host", "x-user-id"} & set(names)
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", name) for name in names)
    assert not any(set("\r\n\0") & set(value) for _, value in kept)

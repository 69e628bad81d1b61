"""What is taken for an answer, where it ends, and what is refused, however the bytes are cut."""

import contextlib
import itertools
import string
from unittest import mock

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.hop.answer_parser import HEAD_LIMIT_BYTES, HEADERS_LIMIT, AnswerParser, BrokenAnswer

OK_LINE = b"HTTP/1.1 200 OK"
OK = OK_LINE + b"\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def parsed(*pieces: bytes, method: str = "GET", then_ended: bool = False) -> AnswerParser:
    parser = AnswerParser(method)
    for piece in pieces:
        parser.feed(piece)
    if then_ended:
        parser.feed_eof()
    return parser


WHOLE = [
    pytest.param(OK + b"Content-Length: 2\r\n\r\n[]", b"[]", id="a length"),
    pytest.param(OK + b"Content-Length: 0\r\n\r\n", b"", id="no body"),
    pytest.param(CHUNKED + b"2\r\n[]\r\n0\r\n\r\n", b"[]", id="chunks"),
    pytest.param(CHUNKED + b"1;x=y\r\n[\r\n1\r\n]\r\n0\r\nX-Sum: 1\r\n\r\n", b"[]", id="extensions and trailers"),
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="204"),
    pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", b"", id="304 with the other's length"),
    pytest.param(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\n[]", b"[]", id="103"),
    pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + OK + b"Content-Length: 2\r\n\r\n[]", b"[]", id="nine 100"),
    pytest.param(
        OK + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\n[]", b"[]", id="upgrade offered"
    ),
]


@pytest.mark.parametrize(("answer", "body"), WHOLE)
def test_an_answer_is_whole_at_its_end_and_its_connection_goes_on(answer: bytes, body: bytes) -> None:
    parser = parsed(answer)
    assert (parser.is_complete, parser.keeps_alive, parser.take()) == (True, True, body)


@pytest.mark.parametrize(("answer", "body"), WHOLE)
@given(data=st.data())
def test_it_is_the_same_however_it_is_cut(answer: bytes, body: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1), max_size=8)))
    bounds = [0, *cuts, len(answer)]
    pieces = [answer[start:end] for start, end in itertools.pairwise(bounds)]
    whole, cut = parsed(answer), parsed(*pieces)
    assert (cut.status, cut.headers, cut.is_complete, cut.keeps_alive) == (whole.status, whole.headers, True, True)
    assert cut.take() == body
    assert not parsed(*pieces[:-1]).is_complete or len(pieces) == 1


def test_a_head_is_read_as_it_came() -> None:
    parser = parsed(OK + b'ETag: "a"\r\nx-a:  b \r\nX-Raw: \xc3\xa9\xff\r\nContent-Length: 12\r\n\r\n')
    assert parser.status == 200
    assert parser.headers == [("ETag", '"a"'), ("x-a", "b"), ("X-Raw", "é\udcff"), ("Content-Length", "12")]
    assert parser.content_length == 12


def test_headers_of_hints_and_trailers_are_not_the_answers() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\nContent-Length: 7\r\n\r\n"
    parser = parsed(hints + CHUNKED + b"0\r\nSet-Cookie: c=d\r\n\r\n")
    assert parser.headers == [("Transfer-Encoding", "chunked")]


@pytest.mark.parametrize("header", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_the_answer_to_a_head_has_no_body(header: bytes) -> None:
    parser = parsed(OK + header + b"\r\n", method="HEAD")
    assert (parser.is_complete, parser.keeps_alive) == (True, True)


@pytest.mark.parametrize("header", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize("body", [b"5\r\nhello\r\n0\r\n\r\n", b"hello"])
def test_a_body_in_spite_of_that_ends_the_connection_and_is_not_the_answers(header: bytes, body: bytes) -> None:
    parser = parsed(OK + header + b"\r\n" + body, method="HEAD")
    assert (parser.is_complete, parser.keeps_alive, parser.take()) == (True, False, b"")


def test_what_follows_the_end_is_not_the_answer_and_ends_the_connection() -> None:
    poison = OK + b"Content-Length: 8\r\n\r\n[poison]"
    for answer in (OK + b"Content-Length: 2\r\n\r\n[]" + poison, OK + b"Content-Length: 2\r\n\r\n[]xx"):
        parser = parsed(answer)
        assert (parser.is_complete, parser.keeps_alive, parser.take()) == (True, False, b"[]")


@pytest.mark.parametrize(
    "head", [OK + b"Connection: close\r\nContent-Length: 2\r\n\r\n", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n"]
)
def test_a_connection_that_is_said_to_end_is_not_kept(head: bytes) -> None:
    parser = parsed(head + b"[]")
    assert (parser.is_complete, parser.keeps_alive) == (True, False)


def test_without_a_length_the_connections_end_is_the_answers() -> None:
    assert not parsed(OK + b"\r\n[]").is_complete
    parser = parsed(OK + b"\r\n[", b"]", then_ended=True)
    assert (parser.is_complete, parser.keeps_alive, parser.take()) == (True, False, b"[]")


@pytest.mark.parametrize(
    "cut",
    [
        b"",
        b"HTTP/1.1 200",
        OK,
        OK + b"Content-Length: 3\r\n\r\n[]",
        CHUNKED + b"2\r\n[]\r\n",
        CHUNKED + b"2\r\n[]\r\n0\r\n",
    ],
)
def test_an_early_end_is_none(cut: bytes) -> None:
    with pytest.raises(BrokenAnswer, match="broke off"):
        parsed(*([cut] if cut else []), then_ended=True)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"HTTP/2.0 200 OK\r\n\r\n", id="another version"),
        pytest.param(b"HTTP/1.1 600 Odd\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 99 Odd\r\n\r\n", id="two digits"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", id="101"),
        pytest.param(b"HTTP/1.1 101 Switching\r\n\r\n", id="101 without upgrade"),
        pytest.param(OK + b"Content-Length: x\r\n\r\n", id="length no number"),
        pytest.param(OK + b"Content-Length: -1\r\n\r\n", id="negative length"),
        pytest.param(OK + b"Content-Length: +1\r\n\r\n", id="length with a sign"),
        pytest.param(OK + b"Content-Length: 1, 1\r\n\r\n", id="length list"),
        pytest.param(OK + b"Content-Length: 99999999999999999999\r\n\r\n", id="length beyond 64 bits"),
        pytest.param(OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n[]", id="two lengths"),
        pytest.param(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]", id="two different lengths"),
        pytest.param(OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n[]", id="CL and TE"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n[]", id="TE and CL"),
        pytest.param(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", id="another coding"),
        pytest.param(OK + b"Transfer-Encoding: xchunked\r\n\r\n", id="an unknown coding"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked twice"),
        pytest.param(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunks in HTTP/1.0"),
        pytest.param(CHUNKED + b"zz\r\n", id="a chunk size that is none"),
        pytest.param(CHUNKED + b"0x2\r\n[]\r\n", id="a chunk size with a prefix"),
        pytest.param(CHUNKED + b"2\r\n[]]\r\n", id="a chunk longer than its size"),
        pytest.param(CHUNKED + b"ffffffffffffffffff\r\n", id="a chunk size beyond 64 bits"),
        pytest.param(OK + b"X : 1\r\n\r\n", id="a space before the colon"),
        pytest.param(OK + b"X: 1\r\n 2\r\n\r\n", id="a folded line"),
        pytest.param(OK + b"X: 1\nY: 2\r\n\r\n", id="a bare LF"),
        pytest.param(OK + b"X: 1\rY: 2\r\n\r\n", id="a bare CR"),
        pytest.param(OK + b"X: \x00\r\n\r\n", id="a NUL"),
        pytest.param(OK + b"X\r\n\r\n", id="no colon"),
        pytest.param(OK + b": 1\r\n\r\n", id="no name"),
    ],
)
def test_what_has_two_readings_or_none_is_refused(answer: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        parsed(answer)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + b"X: " + b"x" * HEAD_LIMIT_BYTES, id="a header without end"),
        pytest.param(OK + b"".join(b"X%d: x\r\n" % one for one in range(9000)), id="headers without end"),
        pytest.param(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 3000, id="hints without end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, id="go-ahead without end"),
        pytest.param(
            CHUNKED + b"0\r\n" + b"".join(b"X%d: x\r\n" % one for one in range(9000)), id="trailers without end"
        ),
    ],
)
def test_what_does_not_end_is_refused(answer: bytes) -> None:
    pieces = [answer[start : start + 4096] for start in range(0, len(answer), 4096)]
    with pytest.raises(BrokenAnswer, match="too large"):
        parsed(*pieces)


def test_too_many_headers_are_refused() -> None:
    with pytest.raises(BrokenAnswer, match="too many"):
        parsed(OK + b"X: y\r\n" * (HEADERS_LIMIT + 1) + b"\r\n")


LENGTH = b"Content-Length: 2"
PLAIN_FIELD = b"X-Plain: a: b  c"
ODD_STATUS_LINES = [
    *(b"HTTP/1.1 %d Status" % status for status in (100, 101, 103, 199, 204, 304, 600, 999)),
    b"HTTP/1.0 200 OK",
    b"HTTP/1.2 200 OK",
    b"HTTP/1.1 200",
    b"HTTP/1.1  200 OK",
    b"HTTP/1.1\t200 OK",
    b"HTTP/1.1 20 OK",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 200OK",
    b"HTTP/1.1 200 O\tK",
    b"HTTP/1.1 200 \xff",
    b"http/1.1 200 OK",
    b"\r\nHTTP/1.1 200 OK",
    b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK",
]
ODD_FIELDS = [
    *(
        b"Content-Length: " + length
        for length in (b"2", b"+2", b"02", b"2, 2", b"2 ", b"2\t", b"0x2", b"", b"-2", b"3")
    ),
    *(b"content-LENGTH:" + length for length in (b"2", b"  2", b"\t2", b" \r\n 2")),
    *(b"Connection: " + option for option in (b"close", b"Close, x", b"keep-alive", b"upgrade")),
    b"CONNECTION: close",
    b"proxy-connection: close",
    b"Proxy-Connection: keep-alive",
    b"Keep-Alive: timeout=5",
    b"Upgrade: h2c",
    b"upgrade: h2c\r\nConnection: upgrade",
    b"Trailer: X",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: identity",
    b"TRANSFER-ENCODING: gzip, chunked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding : chunked",
    b"Content-Length : 2",
    b" Content-Length: 2",
    b"X: 1\r\n 2",
    b"X: 1\r\n\t2",
    b"X: 1\nContent-Length: 2",
    b"X: 1\rContent-Length: 2",
    b"X: 1\r",
    b"X: 1 ",
    b"X: 1\t",
    b"X:\t1",
    b"X:  1",
    b"X:1",
    b"X:",
    b"X: ",
    b"X",
    b"",
    b": 1",
    b"X\0: 1",
    b"X: \0",
    b"X: \x7f",
    b"X: \xc3\xa9",
    b"\xc3\xa9: 1",
    b"X_Y.Z: 1",
    b"X: " + b"x" * HEAD_LIMIT_BYTES,
    b"\r\n".join([b"X: y"] * HEADERS_LIMIT),
]
ODD_BODIES = [b"[", b"[]x", b"[]\r\n", b"[]" + OK + b"Content-Length: 0\r\n\r\n", b"2\r\n[]\r\n0\r\n\r\n", b""]


def answer_of(status_line: bytes, fields: list[bytes], body: bytes, line_end: bytes = b"\r\n") -> bytes:
    return b"\r\n".join([status_line, *fields]) + line_end + b"\r\n" + body


def outcome(*pieces: bytes, method: str) -> object:
    """All that can be told of an answer, or why it is refused."""
    try:
        parser = parsed(*pieces, method=method)
    except BrokenAnswer as error:
        return str(error)
    body = parser.take()
    return parser.status, parser.headers, parser.content_length, body, parser.is_complete, parser.keeps_alive


NOT_QUITE_PLAIN = [
    *(answer_of(line, [LENGTH, PLAIN_FIELD], b"[]") for line in ODD_STATUS_LINES),
    *(answer_of(OK_LINE, [LENGTH, field, PLAIN_FIELD], b"[]") for field in ODD_FIELDS),
    *(answer_of(OK_LINE, [field, LENGTH], b"[]") for field in ODD_FIELDS),
    *(answer_of(OK_LINE, [PLAIN_FIELD, field], b"[]") for field in ODD_FIELDS),
    *(answer_of(OK_LINE, [LENGTH, PLAIN_FIELD], body) for body in ODD_BODIES),
    *(answer_of(OK_LINE, [LENGTH, PLAIN_FIELD], b"[]", end) for end in (b"\n", b"\r", b"\r\r\n", b"")),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("answer", NOT_QUITE_PLAIN, ids=lambda answer: ascii(answer[:70]))
def test_what_is_not_quite_plain_is_read_as_llhttp_reads_it(answer: bytes, method: str) -> None:
    # Whole plain answers are read without llhttp, and what does not come whole is read by it.
    assert outcome(answer, method=method) == outcome(answer[:1], answer[1:], method=method)


@given(
    st.builds(
        answer_of,
        st.sampled_from([OK_LINE, b"HTTP/1.1 404 Not Found", b"HTTP/1.1 500 "]) | st.sampled_from(ODD_STATUS_LINES),
        st.lists(st.sampled_from([LENGTH, PLAIN_FIELD, b'ETag: W/"a"']) | st.sampled_from(ODD_FIELDS), max_size=4),
        st.just(b"[]") | st.sampled_from(ODD_BODIES) | st.binary(max_size=4),
    ),
    st.sampled_from(["GET", "HEAD"]),
)
def test_no_mixture_is_read_otherwise_than_by_llhttp(answer: bytes, method: str) -> None:
    assert outcome(answer, method=method) == outcome(answer[:1], answer[1:], method=method)


NOT_PLAIN_NAMES = {"content-length", "connection", "proxy-connection", "transfer-encoding", "upgrade"}
NAMES = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=20).filter(
    lambda name: name.lower() not in NOT_PLAIN_NAMES
)
VALUES = st.text([chr(code) for code in range(0x20, 0x7F)], min_size=1, max_size=30).filter(
    lambda value: value == value.strip()
)


@given(
    status=st.integers(200, 599).filter(lambda status: status not in (204, 304)),
    reason=st.just("") | VALUES,
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=8),
    name=st.sampled_from(["Content-Length", "content-length"]),
    body=st.binary(max_size=40),
)
def test_a_plain_answer_is_read_without_llhttp_and_the_same(
    status: int, reason: str, fields: list[tuple[str, str]], name: str, body: bytes
) -> None:
    headers = [*fields[::2], (name, str(len(body))), *fields[1::2]]
    lines = [f"{one}: {value}".encode() for one, value in headers]
    answer = answer_of(f"HTTP/1.1 {status} {reason}".encode(), lines, body)
    with mock.patch.object(httptools, "HttpResponseParser", side_effect=AssertionError):
        read = outcome(answer, method="GET")
    assert read == (status, headers, len(body), body, True, True)
    assert read == outcome(answer[:1], answer[1:], method="GET")


@given(st.binary(max_size=400))
def test_no_bytes_crash_it(noise: bytes) -> None:
    for data in (noise, OK + noise, CHUNKED + noise):
        with contextlib.suppress(BrokenAnswer):
            parsed(data, then_ended=True)

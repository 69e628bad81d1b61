"""What is taken for an answer, where it ends, and what is refused, however the bytes are cut."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.hop.answer_parser import HEAD_LIMIT_BYTES, HEADERS_LIMIT, AnswerParser, BrokenAnswer

OK = b"HTTP/1.1 200 OK\r\n"
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


@given(st.binary(max_size=400))
def test_no_bytes_crash_it(noise: bytes) -> None:
    for data in (noise, OK + noise, CHUNKED + noise):
        with contextlib.suppress(BrokenAnswer):
            parsed(data, then_ended=True)

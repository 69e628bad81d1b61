"""The hop to one service, against sockets that behave and sockets that do not."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.hop import pool
from gateway.hop.answer import BUFFER_LIMIT_BYTES, HopAnswer
from gateway.hop.hop import Hop, HopRequest
from service_kit.errors import InvalidRequest, Overloaded, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from tests.fakes.raw_upstream import OK, Behave, RawUpstream, hangs, raw_upstream, sends
from tests.fakes.waiting import until

GET = HopRequest("GET", "/x?y=%20z", [("Accept", "*/*")], None)
POST = HopRequest("POST", "/x", [], b'{"a":1}')
HEAD = GET._replace(method="HEAD")


@asynccontextmanager
async def hop_to(url: str) -> AsyncIterator[Hop]:
    hop = Hop("repo-service", url)
    await hop.start()
    try:
        yield hop
    finally:
        await hop.close()


@asynccontextmanager
async def hop_before(behave: Behave) -> AsyncIterator[tuple[Hop, RawUpstream]]:
    async with raw_upstream(behave) as upstream, hop_to(upstream.url) as hop:
        yield hop, upstream


async def get(hop: Hop, request: HopRequest = GET) -> bytes:
    answer = await hop.send(request, timeout_seconds=5)
    assert answer.status == 200
    return await answer.read(1_000_000)


def sent_headers(head: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)


async def test_a_request_goes_out_as_it_came_and_the_answer_comes_back() -> None:
    async with hop_before(sends(OK)) as (hop, upstream):
        answer = await hop.send(GET, timeout_seconds=5)
        assert (answer.status, answer.content_length, await answer.read(100)) == (200, 2, b"[]")
        assert answer.headers == [("Content-Length", "2")]
        expected = f"GET /x?y=%20z HTTP/1.1\r\nHost: 127.0.0.1:{upstream.port}\r\nAccept: */*\r\nX-Request-Timeout-Ms: "
        assert upstream.heads[0].decode().startswith(expected)


async def test_the_base_urls_path_comes_before_the_target() -> None:
    async with raw_upstream(sends(OK)) as upstream, hop_to(f"{upstream.url}/base") as hop:
        await get(hop)
        assert upstream.heads[0].startswith(b"GET /base/x?y=%20z HTTP/1.1\r\n")


async def test_what_remains_of_the_time_is_passed_on() -> None:
    async with hop_before(sends(OK)) as (hop, upstream):
        await get(hop)
        assert 4000 < int(sent_headers(upstream.heads[0])["X-Request-Timeout-Ms"]) <= 5000


async def test_a_body_goes_with_its_length_and_none_is_said_to_be_none() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await reader.readexactly(int(sent_headers(upstream.heads[-1])["Content-Length"]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with hop_before(echo) as (hop, upstream):
        for body in (b'{"a":1}', b"x" * 300_000, b"", None):
            assert await get(hop, POST._replace(body=body)) == (body or b"")


@pytest.mark.parametrize(
    "request_",
    [
        GET._replace(target="/x HTTP/1.1\r\nX: y"),
        GET._replace(headers=[("Accept", "a\r\nX-Forwarded-For: b")]),
        GET._replace(headers=[("Accept\r\nX", "a")]),
        GET._replace(headers=[("Accept", "a\nb")]),
        GET._replace(headers=[("Accept", "a\0b")]),
        GET._replace(method="GET / HTTP/1.1\r\n\r\nGET"),
    ],
)
async def test_no_line_of_its_own_gets_into_a_request(request_: HopRequest) -> None:
    async with hop_before(sends(OK)) as (hop, upstream):
        with pytest.raises(InvalidRequest):
            await hop.send(request_, timeout_seconds=5)
        assert upstream.heads == []


async def test_connections_are_kept_and_used_again() -> None:
    async with hop_before(sends(OK)) as (hop, upstream):
        for _ in range(5):
            assert await get(hop) == b"[]"
        assert upstream.connections == 1
        await asyncio.gather(*(get(hop) for _ in range(4)))
        assert upstream.connections <= 4


async def test_a_connection_of_its_own_carries_what_may_not_be_repeated() -> None:
    """So that none is lost on a connection that the service is closing just then."""
    async with hop_before(sends(OK)) as (hop, upstream):
        await get(hop)
        await get(hop, POST)
        assert upstream.connections == 2


@pytest.mark.parametrize(
    ("answer", "request_"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", GET),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 7\r\n\r\n", GET),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", HEAD),
    ],
)
async def test_an_answer_without_a_body_is_whole_at_once(answer: bytes, request_: HopRequest) -> None:
    async with hop_before(sends(answer)) as (hop, upstream):
        for _ in range(3):
            async with asyncio.timeout(3):
                assert await (await hop.send(request_, timeout_seconds=5)).read(100) == b""
        assert upstream.connections == 1


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async with hop_before(sends(b"HTTP/1.1 200 OK\r\n\r\n[1, 2]", then_closes=True)) as (hop, upstream):
        assert [await get(hop) for _ in range(2)] == [b"[1, 2]"] * 2
        assert upstream.connections == 2


@pytest.mark.parametrize(
    "more", [b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n[poison]", b"HTTP/1.1 103 Hm\r\n\r\n", b"\r\nx", b"x"]
)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
async def test_what_follows_an_answer_is_no_other_requests_answer(more: bytes, at_once: bool) -> None:
    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + more if at_once else OK)
        if not at_once:
            await taken.wait()
            writer.write(more)
            await writer.drain()
            taken.clear()

    taken = asyncio.Event()
    async with hop_before(behave) as (hop, upstream):
        for number in range(1, 4):
            assert await get(hop) == b"[]"
            taken.set()
            await until(lambda: upstream.open_connections == 0)
            assert upstream.connections == number


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (b"", UpstreamUnreachable, "The repo-service cannot be reached."),
        (b"HTTP/1.1 200 OK\r\nContent-Len", UpstreamUnreachable, "The repo-service cannot be reached."),
        (b"SSH-2.0-OpenSSH_9.2\r\n", UpstreamFault, "The repo-service gave an answer that is not HTTP."),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
            UpstreamFault,
            "The repo-service gave an",
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", UpstreamFault, "The repo-service gave an answer"),
        (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 5000, UpstreamFault, "The repo-service gave an answer"),
    ],
    ids=["nothing", "half a head", "another protocol", "two lengths", "a huge header", "a flood of hints"],
)
async def test_an_answer_that_is_none_is_an_error_that_names_the_service(
    answer: bytes, error: type[UpstreamFault], told: str
) -> None:
    async with hop_before(sends(answer, then_closes=True)) as (hop, upstream):
        with pytest.raises(error, match=told):
            await hop.send(GET, timeout_seconds=5)
        assert upstream.asked == 1
        assert hop.replicas()[0].in_flight == 0
        assert hop.replicas()[0].failures == 1


CUTS = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1, 2", id="short of its length"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1, 2\r\n", id="no last chunk"),
]


@pytest.mark.parametrize("answer", CUTS)
async def test_a_body_that_breaks_off_is_never_taken_for_whole(answer: bytes) -> None:
    async with hop_before(sends(answer, then_closes=True)) as (hop, upstream):
        with pytest.raises(UpstreamFault):
            await (await hop.send(GET, timeout_seconds=5)).read(1000)
        came: list[bytes] = []
        with pytest.raises(UpstreamFault):
            await take_parts(await hop.send(GET, timeout_seconds=5), came)
        assert b"".join(came) == b"[1, 2"
        assert upstream.asked == 2, "it must not be asked for again once a part may have been passed on"


async def take_parts(answer: HopAnswer, taken: list[bytes]) -> None:
    async for part in answer.chunks():
        taken += [part]


async def test_a_chunk_that_is_broken_from_the_beginning_is_no_answer() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    async with hop_before(sends(answer)) as (hop, _):
        with pytest.raises(UpstreamFault):
            await hop.send(GET, timeout_seconds=5)


async def test_a_body_larger_than_wanted_is_refused_and_its_connection_ended() -> None:
    async with hop_before(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789")) as (hop, _):
        assert len(await (await hop.send(GET, timeout_seconds=5)).read(9)) == 9
        with pytest.raises(UpstreamFault, match="larger than 8 bytes"):
            await (await hop.send(GET, timeout_seconds=5)).read(8)


async def test_silence_is_a_timeout_and_ends_the_connection() -> None:
    async with hop_before(hangs) as (hop, upstream):
        with pytest.raises(UpstreamTimeout, match="The repo-service did not answer in time"):
            await hop.send(GET, timeout_seconds=0.2)
        await until(lambda: upstream.open_connections == 0)
        assert upstream.asked == 1, "who used up the time is not asked again"


async def test_a_begun_answer_whose_head_came_in_time_may_be_read_later() -> None:
    may_go_on = asyncio.Event()

    async def halves(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[1")
        await may_go_on.wait()
        writer.write(b"1]")

    async with hop_before(sends(OK)) as (hop, upstream):
        await get(hop)
        upstream.behave = halves
        begun = hop.begin(GET, timeout_seconds=0.2)
        assert begun is not None
        await until(lambda: begun.answer.status == 200)
        answer = await hop.send(GET, timeout_seconds=0.2, begun=begun)
        await asyncio.sleep(0.4)  # the time for its head is over, and it has been looked at since
        may_go_on.set()
        parts: list[bytes] = []
        await take_parts(answer, parts)
        assert b"".join(parts) == b"[11]"


async def test_a_body_that_comes_to_a_halt_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.hop.answer.IDLE_TIMEOUT_SECONDS", 0.2)
    async with hop_before(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1, 2")) as (hop, upstream):
        answer = await hop.send(GET, timeout_seconds=5)
        with pytest.raises(UpstreamTimeout):
            await take_parts(answer, [])
        answer = await hop.send(GET, timeout_seconds=0.3)
        with pytest.raises(UpstreamTimeout):
            await answer.read(1000)
        await until(lambda: upstream.open_connections == 0)


async def test_who_leaves_ends_the_services_work() -> None:
    async with hop_before(hangs) as (hop, upstream):
        sending = asyncio.create_task(hop.send(GET, timeout_seconds=5))
        await until(lambda: upstream.asked == 1)
        sending.cancel()
        await until(lambda: upstream.open_connections == 0)
        assert hop.replicas()[0][2:4] == (0, 0)
        assert hop.replicas()[0].failures == 0


async def test_who_leaves_amid_the_answer_ends_the_services_work() -> None:
    async with hop_before(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1, 2")) as (hop, upstream):
        answer = await hop.send(GET, timeout_seconds=5)
        assert hop.replicas()[0].in_flight == 1
        answer.close()
        answer.close()
        await until(lambda: upstream.open_connections == 0)
        assert hop.replicas()[0].in_flight == 0
        with pytest.raises(UpstreamFault):
            await answer.read(1000)


async def test_an_answer_that_nobody_reads_is_no_reason_to_end_a_connection() -> None:
    async with hop_before(sends(OK)) as (hop, upstream):
        for _ in range(3):
            (await hop.send(GET, timeout_seconds=5)).close()
        assert upstream.connections == 1


async def test_an_answer_before_the_request_was_read_is_the_answer_and_ends_the_connection() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n[]")
        await read_on.wait()
        await reader.read()

    read_on = asyncio.Event()
    async with hop_before(refuse) as (hop, upstream):
        answer = await hop.send(POST._replace(body=b"x" * 20_000_000), timeout_seconds=5)
        assert (answer.status, await answer.read(100)) == (413, b"[]")
        read_on.set()
        await until(lambda: upstream.open_connections == 0)
        assert hop.replicas()[0].free_connections == 0


async def test_a_connection_that_went_stale_is_replaced_once() -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")  # the next request comes, and the connection ends
        writer.close()

    async with hop_before(answer_once) as (hop, upstream):
        for _ in range(4):
            assert await get(hop) == b"[]"
        assert (upstream.asked, hop.retries) == (4, 3)
        assert hop.replicas()[0].state == "active"


async def test_a_fresh_connection_that_breaks_is_not_replaced_where_there_is_no_other_replica() -> None:
    async with hop_before(sends(b"", then_closes=True)) as (hop, upstream):
        with pytest.raises(UpstreamUnreachable):
            await get(hop)
        assert upstream.asked == 1


async def test_connections_are_bounded_and_more_is_overload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "CONNECTIONS_LIMIT", 3)
    async with hop_before(hangs) as (hop, upstream):
        waiting = [asyncio.create_task(hop.send(GET, timeout_seconds=5)) for _ in range(3)]
        await until(lambda: upstream.asked == 3)
        with pytest.raises(Overloaded) as refused:
            await hop.send(GET, timeout_seconds=5)
        assert refused.value.retry_after_seconds == 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        upstream.behave = sends(OK)
        await until(lambda: upstream.open_connections == 0)
        assert await get(hop) == b"[]"


async def test_free_connections_are_bounded_and_end_before_the_service_ends_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "FREE_LIMIT", 2)
    async with hop_before(sends(OK)) as (hop, upstream):
        await asyncio.gather(*(get(hop) for _ in range(6)))
        await until(lambda: upstream.open_connections == 2)
        assert hop.replicas()[0].free_connections == 2
        monkeypatch.setattr(pool, "FREE_SECONDS", 0.1)
        await until(lambda: upstream.open_connections == 0)
        assert hop.replicas()[0].free_connections == 0


async def test_no_more_is_read_than_the_reader_takes() -> None:
    size = 64 * 1024 * 1024
    part = b"x" * 65536
    written = 0

    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while written < size:
            writer.write(part)
            await writer.drain()
            written += len(part)

    async with hop_before(pour) as (hop, _):
        answer = await hop.send(GET, timeout_seconds=5)
        chunks = answer.chunks()
        largest = taken = len(await anext(chunks))
        before = -1
        while before != written:  # until nothing moves any more
            before = written
            await asyncio.sleep(0.1)
        assert written < 16 * 1024 * 1024, "beyond what the sockets' own buffers take"
        async for chunk in chunks:
            largest = max(largest, len(chunk))
            taken += len(chunk)
        assert taken == size
        assert largest <= BUFFER_LIMIT_BYTES + 256 * 1024


async def test_closing_ends_what_is_under_way() -> None:
    async with raw_upstream(hangs) as upstream:
        async with hop_to(upstream.url) as hop:
            sending = asyncio.create_task(hop.send(GET, timeout_seconds=5))
            await until(lambda: upstream.asked == 1)
        await until(lambda: upstream.open_connections == 0)
        with pytest.raises(UpstreamUnreachable):
            await sending


async def test_a_service_behind_tls_has_to_prove_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    async with raw_upstream(sends(OK), tls=tls) as upstream:
        url = f"https://127.0.0.1:{upstream.port}"
        async with hop_to(url) as hop:
            with pytest.raises(UpstreamUnreachable):
                await get(hop)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with hop_to(url) as hop:
            assert [await get(hop) for _ in range(3)] == [b"[]"] * 3
        assert upstream.asked == 3


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody but itself vouches for, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"


async def test_what_a_replica_did_can_be_told() -> None:
    async with hop_before(sends(OK)) as (hop, upstream):
        await get(hop)
        (state,) = hop.replicas()
        assert json.loads(json.dumps(state._asdict())) == {
            "address": f"127.0.0.1:{upstream.port}",
            "state": "active",
            "in_flight": 0,
            "free_connections": 1,
            "requests": 1,
            "failures": 0,
            "latency_seconds": 0.1,
        }

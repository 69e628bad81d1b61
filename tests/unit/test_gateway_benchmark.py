"""The gateway's benchmark: what it counts, what it refuses to count, and how it judges."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count, cycle, repeat

import pytest

from benchmarks.driver import UnexpectedAnswer
from benchmarks.gateway.aims import Aim
from benchmarks.gateway.open_loop import drive_at
from benchmarks.gateway.sample import BODY, SIZE_BYTES
from benchmarks.gateway.wrk import read_run

WRK = """Running 2s test @ http://127.0.0.1:1/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.73ms    2.22ms  44.36ms   95.11%
  Latency Distribution
     50%    1.21ms
     75%    1.58ms
     90%    2.36ms
     99%   {p99}
  44830 requests in 2.01s, 446.35MB read
Requests/sec:  22323.12
"""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\n\r\n"


@asynccontextmanager
async def answering(answers: list[bytes], *, pause_at: int = -1) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server's port, and what it was asked; it gives the answers in turn, and one of them late, with all behind it."""
    asked: list[bytes] = []
    numbers, given = count(), cycle(answers)
    turn = asyncio.Lock()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            asked.append(head)
            async with turn:
                if next(numbers) == pause_at:
                    await asyncio.sleep(0.2)
            writer.write(next(given))

    def forget(_loop: asyncio.AbstractEventLoop, _context: dict[str, object]) -> None:
        """Readers that are cut off when the driver leaves."""

    asyncio.get_running_loop().set_exception_handler(forget)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


async def test_as_many_requests_are_sent_as_are_due() -> None:
    async with answering([OK, NOT_MODIFIED]) as (port, asked):
        load = await drive_at("127.0.0.1", port, repeat(REQUEST), rate=500, seconds=0.2, connections=4)
    assert len(load.latencies_seconds) == len(asked) == 100


async def test_who_had_to_wait_for_a_connection_waited() -> None:
    async with answering([OK], pause_at=10) as (port, _):
        load = await drive_at("127.0.0.1", port, repeat(REQUEST), rate=500, seconds=0.4, connections=2)
    # Two requests were under way in the 200 ms in which nothing was answered, and a hundred were due.
    assert sum(latency > 0.05 for latency in load.latencies_seconds) > 30


async def test_no_crowd_comes_because_the_driver_stood_still() -> None:
    drawn: list[float] = []

    def requests() -> Iterator[bytes]:
        for number in count():
            if number == 10:
                time.sleep(0.3)  # 60 requests would be due
            drawn.append(time.perf_counter())
            yield REQUEST

    async with answering([OK]) as (port, _):
        load = await drive_at("127.0.0.1", port, requests(), rate=200, seconds=0.2, connections=64)
    assert len(load.latencies_seconds) == 40
    assert drawn[-1] - drawn[10] > 28 / 200  # not at once: one each 5 ms, as before


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
)
async def test_what_is_no_good_answer_ends_the_run(answer: bytes) -> None:
    async with answering([answer]) as (port, _):
        with pytest.raises(UnexpectedAnswer):
            await drive_at("127.0.0.1", port, repeat(REQUEST), rate=100, seconds=0.1, connections=1)


@pytest.mark.parametrize(("p99", "milliseconds"), [("10.66ms", 10.66), ("870.00us", 0.87), ("1.20s", 1200.0)])
def test_what_wrk_says_is_read(p99: str, milliseconds: float) -> None:
    run = read_run(WRK.format(p99=p99))
    assert (run.requests, run.requests_per_second, run.p50_ms) == (44830, 22323.12, 1.21)
    assert run.p99_ms == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    "trouble", ["  Non-2xx or 3xx responses: 7\n", "  Socket errors: connect 0, read 3, write 0, timeout 0\n"]
)
def test_a_run_with_bad_answers_does_not_count(trouble: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=trouble.strip()):
        read_run(WRK.format(p99="1.00ms") + trouble)


@pytest.mark.parametrize(
    ("figure", "at_least", "verdict"),
    [
        (2.0, True, "met"),
        (1.5, True, "missed, within the limit"),
        (0.9, True, "missed"),
        (1.0, False, "met"),
        (None, True, "not measured"),
    ],
)
def test_a_figure_is_judged(figure: float | None, at_least: bool, verdict: str) -> None:
    assert Aim("", 2.0, 1.0, at_least).verdict(figure) == verdict


def test_the_body_has_the_size_that_the_tables_say() -> None:
    assert len(BODY) == SIZE_BYTES

"""What finding a copy costs, without the request around it: µs in the process, and from Postgres."""

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from statistics import median

from pydantic import SecretStr

from benchmarks.table import format_table, say
from github_client.cache import Copy, MemoryCache
from github_client.clock import Clock
from github_client.lifetimes import LIFETIMES
from github_client.rest import fetch_repository
from github_client.shared_cache import SharedCache
from service_kit.database import Database
from tests.fakes.changing_github import ChangingGitHub
from tests.fakes.github_objects import repository
from tests.fakes.replica import replica

COPIES, BODY_BYTES = 10_000, 900
LOOK_UPS, QUERIES = 100_000, 1_000
"""In each round."""
COLUMNS = ("hit", "median µs", "lowest µs", "highest µs", "aim µs", "of the one above", "lowest to highest")


async def measure_look_ups(database_url: str, rounds: int) -> str:
    """A table of medians over rounds, and ratios to the peer that stands above: one look-up after another.

    In the process it is CPU time, from Postgres the time that passes.
    """
    async with AsyncExitStack() as opened:
        database = Database(SecretStr(database_url), "benchmark")
        await database.open()
        opened.push_async_callback(database.close)
        shared, memory, clock = SharedCache(database, Clock()), MemoryCache(), Clock()
        keys = [f"repository /repos/owner-{n}/name-{n}? application/vnd.github+json" for n in range(COPIES)]
        say(f"hit: keeping {COPIES} copies")
        for n, key in enumerate(keys):
            copy = Copy(
                status=200,
                packed=b"%0*d" % (BODY_BYTES, n),
                as_of=clock.utc(),
                confirmed_seconds=clock.seconds(),
                etag=f'W/"{n:064}"',
            )
            memory.put(key, copy)
            await shared.keep(key, copy)
        await database.execute("analyze github_answer")
        github = await opened.enter_async_context(ChangingGitHub())
        github.put("/repos/made-up/sample", repository())
        cached = await opened.enter_async_context(replica(github.url, database_url, clock))

        async def answer() -> None:
            await fetch_repository(cached, "made-up", "sample", None)

        await answer()
        # In an order that no processor guesses.
        asked = [keys[n * 7919 % COPIES] for n in range(LOOK_UPS)]
        few = asked[:QUERIES]
        ways: dict[str, tuple[Callable[[], Awaitable[float]], str]] = {
            "dict.get": (partial(_time_dict, dict.fromkeys(keys, 1), asked), ""),
            "MemoryCache.get, and its age": (partial(_time_look_up, memory, clock, asked), "2"),
            "fetch_repository, from a fresh copy in the process": (partial(_time_each, answer, LOOK_UPS // 10), ""),
            "select 1, on the same pool": (partial(_time_each, partial(database.fetch_one, "select 1"), QUERIES), ""),
            "SharedCache.read": (partial(_time_reads, shared, few), "250"),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(-1, rounds):
            say("hit: warming up" if number < 0 else f"hit: parts, round {number + 1} of {rounds}")
            for name, (measure, _) in ways.items():
                seconds = await measure()
                if number >= 0:
                    times[name].append(seconds * 1e6)
    rows = []
    above: list[float] = []
    for name, (_, aim) in ways.items():
        made = times[name]
        cells = [f"{value:.2f}" for value in (median(made), min(made), max(made))]
        rows.append([name, *cells, aim, *(_ratio(made, above) if aim else ("", ""))])
        above = made
    return format_table(f"A hit, its parts, one after another, medians of {rounds} rounds", COLUMNS, rows)


def _ratio(made: Sequence[float], above: Sequence[float]) -> tuple[str, str]:
    ratios = [one / other for one, other in zip(made, above, strict=True)]
    return f"{median(ratios):.2f}", f"{min(ratios):.2f}-{max(ratios):.2f}"


async def _time_dict(copies: dict[str, int], asked: Sequence[str]) -> float:
    started = time.thread_time()
    for key in asked:
        copies.get(key)
    return (time.thread_time() - started) / len(asked)


async def _time_look_up(memory: MemoryCache, clock: Clock, asked: Sequence[str]) -> float:
    """As CachedGitHub does it before anything else."""
    lifetime = LIFETIMES["repository"]
    found = 0
    started = time.thread_time()
    for key in asked:
        copy = memory.get(key)
        if copy is not None and clock.seconds() - copy.confirmed_seconds < lifetime.fresh_seconds:
            found += 1
    elapsed_seconds = time.thread_time() - started
    assert found == len(asked)
    return elapsed_seconds / len(asked)


async def _time_each(work: Callable[[], Awaitable[object]], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        await work()
    return (time.perf_counter() - started) / count


async def _time_reads(shared: SharedCache, asked: Sequence[str]) -> float:
    started = time.perf_counter()
    for key in asked:
        assert (await shared.read(key)).copy is not None
    return (time.perf_counter() - started) / len(asked)

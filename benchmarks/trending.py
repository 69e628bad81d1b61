"""What collecting trending pages costs the service that does it: reading a page, and how late its event loop comes."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from selectolax.lexbor import LexborHTMLParser

from benchmarks.driver import percentile
from benchmarks.system import Ground
from benchmarks.table import format_table, say
from github_client.trending.page_key import configured_pages
from github_client.trending.parser import parse_language_menu, parse_repositories
from tests.fakes.clock import SimulatedClock
from tests.fakes.trending_replica import TrendingReplica, trending_replica

PARSE_AIM_MS, LAG_AIM_MS = 8, 20
PARSES = 20
"""Of each page in a round."""
COLLECTOR_ROUNDS = 4
"""In a round of the benchmark."""
TICK_SECONDS, PAUSE_SECONDS = 0.001, 0.1
BETWEEN_PAGES_SECONDS, BETWEEN_ROUNDS_SECONDS = 7.0, 1000.0
"""Of simulated time: more than the collector waits between two pages, and between two fetches of one."""
PAGES = configured_pages("")
"""Those that every service keeps."""
SAMPLES = Path(__file__).parents[1] / "tests" / "samples" / "trending"
RECORDED, OURS = ("repos_all_daily_2026-05-13.html", "repos_all_weekly_2026-05-13.html"), ("repos_2026.html",)


async def measure_trending(ground: Ground, rounds: int) -> str:
    """Two tables: ms of CPU time to read a page, and ms by which a ticker is late while pages are collected."""
    parsing = _measure_parsing(rounds)
    say("trending: starting the imitation")
    clock = SimulatedClock()
    async with (
        ground.running_replicas(0) as running,
        trending_replica(running.github_url, running.database_url, clock, PAGES) as replica,
    ):
        return f"{parsing}\n{await _measure_lag(replica, rounds)}"


def _measure_parsing(rounds: int) -> str:
    """Beside what the library needs for the tree alone. Without recordings: our small sample."""
    recordings = os.environ.get("RECORDINGS_DIR")
    folder, names = (Path(recordings) / "trending-html", RECORDED) if recordings else (SAMPLES, OURS)
    rows = []
    for name in names:
        html = (folder / name).read_bytes()
        text = html.decode()
        ways: dict[str, Callable[[], object]] = {
            "selectolax, the tree alone": lambda text=text: LexborHTMLParser(text),  # type: ignore[misc]
            "parse_repositories": lambda html=html: parse_repositories(html),  # type: ignore[misc]
            "parse_language_menu": lambda html=html: parse_language_menu(html),  # type: ignore[misc]
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(rounds):
            say(f"trending: reading {name}, round {number + 1} of {rounds}")
            for _ in range(PARSES):
                for way, work in ways.items():
                    times[way].append(_cpu_ms(work))
        (_, tree), *_ = times.items()
        for way, made in times.items():
            ratio = median(one / other for one, other in zip(made, tree, strict=True))
            values = (median(made), min(made), percentile(made, 95), ratio)
            rows.append([f"{name}, {way}", f"{len(html) / 1000:.0f}", *(f"{value:.2f}" for value in values)])
    return format_table(
        f"Reading a trending page, {rounds * PARSES} times; aim: {PARSE_AIM_MS} ms for parse_repositories",
        ("page, way", "kB", "median CPU ms", "lowest", "p95", "of the tree"),
        rows,
    )


def _cpu_ms(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return (time.thread_time() - started) * 1000


async def _measure_lag(replica: TrendingReplica, rounds: int) -> str:
    """Collector, store and ticker share this process's event loop, on uvloop as in a service; GitHub is elsewhere."""
    idle: list[float] = []
    collecting: list[float] = []
    pages = 0
    for number in range(rounds):
        say(f"trending: collecting, round {number + 1} of {rounds}")
        async with _ticking(collecting):
            started = time.perf_counter()
            for _ in range(COLLECTOR_ROUNDS):
                pages += await _collect_all(replica)
            elapsed_seconds = time.perf_counter() - started
        async with _ticking(idle):
            await asyncio.sleep(elapsed_seconds)
    rows = [
        [
            name,
            str(len(late)),
            *(f"{value:.2f}" for value in (*(percentile(late, percent) for percent in (50, 99, 99.9)), max(late))),
        ]
        for name, late in (("idle", idle), (f"collecting, {pages} fetches", collecting))
    ]
    return format_table(
        f"Lateness of a tick every {TICK_SECONDS * 1000:g} ms, {rounds} rounds in turn; aim: p99.9 of {LAG_AIM_MS} ms",
        ("event loop", "ticks", "p50 ms", "p99 ms", "p99.9 ms", "latest ms"),
        rows,
    )


async def _collect_all(replica: TrendingReplica) -> int:
    """One full round; how many were fetched and stored."""

    def stored() -> int:
        return sum(
            int(replica.metric("trending_fetches_total", section=section, outcome="stored"))
            for section in ("repositories", "developers")
        )

    before = stored()
    replica.clock.advance(BETWEEN_ROUNDS_SECONDS)
    for _ in PAGES:
        await replica.collector.step()
        replica.clock.advance(BETWEEN_PAGES_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)
    return stored() - before


@asynccontextmanager
async def _ticking(late_ms: list[float]) -> AsyncIterator[None]:
    """Note by how many ms each tick comes late while the context is open."""

    async def tick() -> None:
        while True:
            due = time.perf_counter() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            late_ms.append(max(time.perf_counter() - due, 0.0) * 1000)

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])

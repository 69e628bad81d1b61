"""Requests a second, latencies and CPU time of the gateway and of what stands beside it, under wrk and one by one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.driver import drive
from benchmarks.gateway.aims import (
    ADDED,
    HIT_CPU,
    HIT_FLASK,
    HIT_RATE,
    MISS_FLASK,
    MISS_NAIVE,
    MISS_RATE,
    Aim,
)
from benchmarks.gateway.servers import BARE, DIRECT, FLASK, GATEWAY, NAIVE, NGINX, UPSTREAM, Servers
from benchmarks.gateway.wrk import SCRIPT, run_wrk
from benchmarks.table import format_table, say

CONNECTIONS = 32
ROUND_SECONDS = 2.0
WARM_UP_SECONDS = 1.0
HIT_PATH = "/v1/trending/repositories"
MISS_PATH = "/v1/repositories/lantern/anvil-"
"""With a number behind it; no answer to it may be stored, and no two requests are for the same."""
STORED_PATH = "/v1/developers/lantern-"
"""The same, but what comes is stored, and compressed."""


class Way(NamedTuple):
    """One thing to measure: which server, and the path, a number behind it if every request is for another one."""

    server: str
    path: str
    is_counted_up: bool = False


WAYS = {
    "gateway, hit": Way(GATEWAY, HIT_PATH),
    "nginx proxy_cache, hit": Way(NGINX, HIT_PATH),
    "bare aiohttp": Way(BARE, "/v1/repositories/lantern/anvil"),
    "nginx proxy_pass": Way("nginx proxy", MISS_PATH, is_counted_up=True),
    "gateway, miss": Way(GATEWAY, MISS_PATH, is_counted_up=True),
    "gateway, miss that is stored": Way(GATEWAY, STORED_PATH, is_counted_up=True),
    "naive aiohttp proxy": Way(NAIVE, MISS_PATH, is_counted_up=True),
    "Flask + gunicorn, 2 workers": Way(FLASK, HIT_PATH),
}
COLUMNS = ("way", "requests/s", "p50 ms", "p99 ms", "server CPU µs", "upstream CPU µs")
ALONE = {"upstream itself": DIRECT, "nginx proxy_pass": "nginx proxy", GATEWAY: GATEWAY, "naive aiohttp proxy": NAIVE}


class Figures(NamedTuple):
    """One run: requests a second, latencies in ms, CPU time of one request in µs."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    server_cpu_us: float
    upstream_cpu_us: float


Runs = Mapping[str, Sequence[Figures]]


async def measure_rates(servers: Servers, folder: Path, rounds: int) -> tuple[str, Runs]:
    """A table of medians, and every run. The ways take turns, and each goes first in some rounds."""
    script = folder / "wrk.lua"
    script.write_text(SCRIPT)
    ways = {name: way for name, way in WAYS.items() if way.server in servers.urls}
    runs: dict[str, list[Figures]] = {name: [] for name in ways}
    for way in ways.values():
        await _run(servers, way, script, "warm-", WARM_UP_SECONDS)
    names = list(ways)
    for number in range(rounds):
        say(f"gateway: {CONNECTIONS} at a time, round {number + 1} of {rounds}")
        first = number % len(names)
        for name in [*names[first:], *names[:first]]:
            runs[name].append(await _run(servers, ways[name], script, f"{number}-", ROUND_SECONDS))
    rows = []
    for name, made in runs.items():
        rate, p50, p99, *cpu = [median(column) for column in zip(*made, strict=True)]
        rows.append([name, f"{rate:.0f}", f"{p50:.2f}", f"{p99:.2f}", *(f"{used:.1f}" for used in cpu)])
    title = f"10 KB of JSON, one core, {CONNECTIONS} at a time, medians of {rounds} rounds of {ROUND_SECONDS:g} s each"
    return format_table(title, COLUMNS, rows), runs


def compare(runs: Runs) -> dict[Aim, float]:
    """Round by round one way's figure as a multiple of another's, and of these the median."""
    wanted = [
        (HIT_RATE, "gateway, hit", "bare aiohttp", 0),
        (HIT_CPU, "gateway, hit", "nginx proxy_cache, hit", 3),
        (MISS_RATE, "gateway, miss", "bare aiohttp", 0),
        (MISS_NAIVE, "gateway, miss", "naive aiohttp proxy", 0),
        (HIT_FLASK, "gateway, hit", "Flask + gunicorn, 2 workers", 0),
        (MISS_FLASK, "gateway, miss", "Flask + gunicorn, 2 workers", 0),
    ]
    return {
        aim: median(here[column] / there[column] for here, there in zip(runs[way], runs[beside], strict=True))
        for aim, way, beside, column in wanted
        if beside in runs
    }


async def measure_alone(servers: Servers, rounds: int) -> tuple[str, dict[Aim, float]]:
    """A table of latencies with one request at a time, and what the gateway adds to the upstream's own."""
    urls = {name: f"{servers.urls[server]}{MISS_PATH}1" for name, server in ALONE.items() if server in servers.urls}
    latencies: dict[str, list[tuple[float, float]]] = {name: [] for name in urls}
    for number in range(rounds):
        say(f"gateway: one at a time, round {number + 1} of {rounds}")
        for name, url in urls.items():
            load = await drive(url, concurrency=1, seconds=ROUND_SECONDS / 2)
            latencies[name].append((load.percentile_ms(50), load.percentile_ms(99)))
    direct = [p50 for p50, _ in latencies["upstream itself"]]
    rows, added = [], {}
    for name, made in latencies.items():
        added[name] = median(p50 - there for (p50, _), there in zip(made, direct, strict=True))
        p50, p99 = (median(column) for column in zip(*made, strict=True))
        rows.append([name, f"{p50:.3f}", f"{added[name]:.3f}", f"{p99:.3f}"])
    title = f"A miss, one request at a time, medians of {rounds} rounds of {ROUND_SECONDS / 2:g} s each"
    return format_table(title, ("way", "p50 ms", "added ms", "p99 ms"), rows), {ADDED: added[GATEWAY]}


async def _run(servers: Servers, way: Way, script: Path, mark: str, seconds: float) -> Figures:
    measured = (way.server, UPSTREAM)
    before = [servers.cpu_seconds(name) for name in measured]
    url = f"{servers.urls[way.server]}{way.path}{mark if way.is_counted_up else ''}"
    run = await run_wrk(url, connections=CONNECTIONS, seconds=seconds, script=script, is_counted=way.is_counted_up)
    used = [servers.cpu_seconds(name) - was for name, was in zip(measured, before, strict=True)]
    per_request = [spent / run.requests * 1e6 for spent in used]
    return Figures(run.requests_per_second, run.p50_ms, run.p99_ms, *per_request)

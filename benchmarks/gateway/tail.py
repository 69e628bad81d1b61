"""Latencies at half of the gateway's capacity, open loop: what somebody waits while others ask, too."""

import time
from collections.abc import Sequence
from itertools import cycle
from statistics import median
from urllib.parse import urlsplit

from benchmarks.gateway.aims import HIT_TAIL, MISS_TAIL, Aim
from benchmarks.gateway.callers import request
from benchmarks.gateway.open_loop import drive_at
from benchmarks.gateway.rates import WAYS, Runs
from benchmarks.gateway.servers import Servers
from benchmarks.table import format_table, say

SECONDS = 5.0
CONNECTIONS = 64
PATHS = 20_000
"""As many paths of a miss, over and over: no two of them are under way at once."""
JUDGED = {"gateway, hit": HIT_TAIL, "gateway, miss": MISS_TAIL}
BESIDE = {"gateway, hit": "nginx proxy_cache, hit", "gateway, miss": "nginx proxy_pass"}
"""nginx at the gateway's rate: what of a tail is the machine's and the driver's."""
COLUMNS = ("way", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "p99 ÷ p50", "server busy %", "driver busy %")


async def measure_tails(servers: Servers, runs: Runs, rounds: int) -> tuple[str, dict[Aim, float]]:
    """A table, and p99 as a multiple of p50; `runs` tell the capacities. The ways take turns."""
    rates = {}
    for name, other in BESIDE.items():
        rates[name] = median(run.requests_per_second for run in runs[name]) / 2
        if other in runs:
            rates[other] = rates[name]
    requests = {name: _requests(servers, name) for name in rates}
    made: dict[str, list[tuple[float, ...]]] = {name: [] for name in rates}
    for number in range(rounds):
        say(f"gateway: half of capacity, round {number + 1} of {rounds}")
        for name, rate in rates.items():
            made[name].append(await _run(servers, WAYS[name].server, requests[name], rate))
    rows = []
    for name, loads in made.items():
        *latencies, rate, server, driver = (median(column) for column in zip(*loads, strict=True))
        told = (*(f"{one:.2f}" for one in latencies), f"{_tail(loads):.1f}", f"{server:.0f}", f"{driver:.0f}")
        rows.append([name, f"{rate:.0f}", *told])
    title = f"Half of the gateway's capacity, open loop, medians of {rounds} rounds of {SECONDS:g} s each"
    return format_table(title, COLUMNS, rows), {aim: _tail(made[name]) for name, aim in JUDGED.items()}


def _requests(servers: Servers, name: str) -> list[bytes]:
    way = WAYS[name]
    host = urlsplit(servers.urls[way.server]).netloc
    return [request(host, f"{way.path}{n}" if way.is_counted_up else way.path, n) for n in range(PATHS)]


async def _run(servers: Servers, server: str, requests: Sequence[bytes], rate: float) -> tuple[float, ...]:
    """Latencies in ms, requests a second, and how busy server and driver were, in percent.

    A server that sleeps between requests pays for waking: at half of its rate it is more than half as busy.
    """
    parts = urlsplit(servers.urls[server])
    spent, spent_by_server = time.process_time(), servers.cpu_seconds(server)
    load = await drive_at(
        parts.hostname or "", parts.port or 80, cycle(requests), rate=rate, seconds=SECONDS, connections=CONNECTIONS
    )
    used = (servers.cpu_seconds(server) - spent_by_server, time.process_time() - spent)
    busy = (seconds / load.elapsed_seconds * 100 for seconds in used)
    return (*(load.percentile_ms(percent) for percent in (50, 99, 99.9)), load.requests_per_second, *busy)


def _tail(loads: Sequence[tuple[float, ...]]) -> float:
    return median(p99 / p50 for p50, p99, *_ in loads)

"""Latencies at half of capacity, open loop: what somebody waits while others ask, too."""

from collections.abc import Mapping
from itertools import cycle
from statistics import median
from urllib.parse import urlsplit

from benchmarks.gateway.aims import Aim
from benchmarks.gateway.callers import request
from benchmarks.gateway.open_loop import drive_at
from benchmarks.gateway.rates import HIT_PATH
from benchmarks.table import format_table, say

SECONDS = 5.0
CONNECTIONS = 64
PATHS = 20_000
"""As many paths of a miss, over and over: no two of them are under way at once."""


async def measure_tails(ways: Mapping[str, tuple[str, str, float, Aim]], rounds: int) -> tuple[str, dict[Aim, float]]:
    """A table, and p99 as a multiple of p50. A way is a base URL, a path, its capacity in requests/s, and the aim."""
    rows: list[list[str]] = []
    found = {}
    for name, (url, path, capacity, aim) in ways.items():
        parts = urlsplit(url)
        requests = [request(parts.netloc, path if path == HIT_PATH else f"{path}{n}", n) for n in range(PATHS)]
        loads = []
        for number in range(rounds):
            say(f"gateway: {name} at half of capacity, round {number + 1} of {rounds}")
            load = await drive_at(
                parts.hostname or "",
                parts.port or 80,
                cycle(requests),
                rate=capacity / 2,
                seconds=SECONDS,
                connections=CONNECTIONS,
            )
            loads.append([load.percentile_ms(percent) for percent in (50, 99, 99.9)])
        percentiles = [median(column) for column in zip(*loads, strict=True)]
        found[aim] = median(p99 / p50 for p50, p99, _ in loads)
        rows.append([name, f"{capacity / 2:.0f}", *(f"{one:.2f}" for one in percentiles), f"{found[aim]:.1f}"])
    title = f"Half of capacity, open loop, medians of {rounds} rounds of {SECONDS:g} s each"
    return format_table(title, ("way", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "p99 ÷ p50"), rows), found

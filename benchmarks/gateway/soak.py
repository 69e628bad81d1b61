"""Whether memory grows while everything that callers do goes on: hits, misses, what is stored, 304, 404."""

import asyncio
import time
from collections.abc import Iterator
from itertools import count
from urllib.parse import urlsplit

from benchmarks.gateway.aims import SOAK, Aim
from benchmarks.gateway.callers import request
from benchmarks.gateway.open_loop import drive_at
from benchmarks.gateway.rates import HIT_PATH, MISS_PATH, STORED_PATH
from benchmarks.gateway.servers import GATEWAY, Servers
from benchmarks.table import format_table, say

RATE = 1000.0
CONNECTIONS = 64
FIRST_SECONDS = 60.0
SAMPLE_SECONDS = 5.0


async def measure_soak(servers: Servers, seconds: float) -> tuple[str, dict[Aim, float]]:
    """A table, and by how many percent memory grew after the first minute.

    With less than two minutes the table tells of the time after the first third, while the cache is still filling, and
    there is no figure.
    """
    settled_after = min(FIRST_SECONDS, seconds / 3)
    parts = urlsplit(servers.urls[GATEWAY])
    samples: list[tuple[float, int]] = []
    started = time.perf_counter()

    async def sample() -> None:
        while True:
            samples.append((time.perf_counter() - started, servers.resident_bytes(GATEWAY)))
            await asyncio.sleep(min(SAMPLE_SECONDS, seconds / 30))

    say(f"gateway: {seconds:g} s of mixed traffic, {RATE:.0f} requests/s")
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(sample())
        load = await drive_at(
            parts.hostname or "",
            parts.port or 80,
            _mixed(parts.netloc),
            rate=RATE,
            seconds=seconds,
            connections=CONNECTIONS,
        )
        watching.cancel()
    after = [size for at, size in samples if at >= settled_after]
    # Medians of some: a single one catches a collection that is just under way.
    first, last = sorted(after[:5])[len(after[:5]) // 2], sorted(after[-5:])[len(after[-5:]) // 2]
    growth = (last / first - 1) * 100
    row = [
        f"{seconds:g}",
        str(len(load.latencies_seconds)),
        f"{load.percentile_ms(50):.2f}",
        f"{load.percentile_ms(99):.2f}",
    ]
    row += [f"{size / 1024**2:.1f}" for size in (first, last)] + [f"{growth:.2f}"]
    columns = ("seconds", "requests", "p50 ms", "p99 ms", f"MB after {settled_after:g} s", "MB at the end", "growth %")
    table = format_table("Mixed traffic", columns, [row])
    return table, {SOAK: growth} if seconds >= 2 * FIRST_SECONDS else {}


def _mixed(host: str) -> Iterator[bytes]:
    for number in count():
        for path, headers in (
            (HIT_PATH, ""),
            (HIT_PATH, "Accept-Encoding: gzip\r\n"),
            (f"{HIT_PATH}?since=weekly&language=l{number % 50}", "Accept-Encoding: br, gzip\r\n"),
            (HIT_PATH, 'If-None-Match: W/"6da6f72c157f9e8be351b130"\r\n'),
            (f"{STORED_PATH}{number}", ""),
            (f"{MISS_PATH}{number}", ""),
            (f"{MISS_PATH}{number}", "Authorization: Bearer somebody\r\n"),
            (f"/v1/nothing/{number}", ""),
        ):
            yield request(host, path, number, headers)

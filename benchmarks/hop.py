"""What the gateway costs: one request through gateway and service, beside the same request to the service itself."""

import time
from dataclasses import dataclass
from statistics import median

import psutil

from benchmarks.driver import drive
from benchmarks.system import RunningSystem
from benchmarks.table import format_table, say

PATH = "/trending-languages"
"""Answered from memory: no GitHub, no database, 9 kB."""
CONCURRENCIES = (1, 32)
ROUND_SECONDS = 1.0
WARM_UP_SECONDS = 0.5
COLUMNS = ("way", "requests/s", "p50 ms", "p99 ms", "service CPU µs", "gateway CPU µs", "driver CPU µs")


@dataclass(frozen=True)
class Figures:
    """One run: requests a second, latencies in ms, and the CPU time of one request in µs, by process."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    service_us: float
    gateway_us: float
    driver_us: float

    def values(self) -> tuple[float, ...]:
        """In the order of the table's columns."""
        return (
            self.requests_per_second,
            self.p50_ms,
            self.p99_ms,
            self.service_us,
            self.gateway_us,
            self.driver_us,
        )


async def measure_hop(system: RunningSystem, rounds: int) -> str:
    """A table for each concurrency; the two ways take turns, and each goes first in every other round."""
    ways = {
        "service alone": f"{system.repo_service_url}{PATH}",
        "through gateway": f"{system.gateway_url}/gitter{PATH}",
    }
    for url in ways.values():
        await drive(url, concurrency=max(CONCURRENCIES), seconds=WARM_UP_SECONDS)
    tables = []
    for concurrency in CONCURRENCIES:
        runs: dict[str, list[Figures]] = {way: [] for way in ways}
        for number in range(rounds):
            say(f"hop: concurrency {concurrency}, round {number + 1} of {rounds}")
            for way in list(ways)[:: 1 if number % 2 == 0 else -1]:
                runs[way].append(await _run(ways[way], concurrency, system))
        tables.append(_format(concurrency, runs))
    return "\n".join(tables)


async def _run(url: str, concurrency: int, system: RunningSystem) -> Figures:
    processes = [
        psutil.Process(system.process_ids["repo-service"]),
        psutil.Process(system.process_ids["gateway"]),
        psutil.Process(),
    ]
    before = [_cpu_seconds(process) for process in processes]
    load = await drive(url, concurrency=concurrency, seconds=ROUND_SECONDS)
    used = [_cpu_seconds(process) - was for process, was in zip(processes, before, strict=True)]
    service_us, gateway_us, driver_us = (seconds / len(load.latencies_seconds) * 1e6 for seconds in used)
    return Figures(
        load.requests_per_second,
        load.percentile_ms(50),
        load.percentile_ms(99),
        service_us,
        gateway_us,
        driver_us,
    )


def _cpu_seconds(process: psutil.Process) -> float:
    if process.pid == psutil.Process().pid:
        return time.process_time()
    times = process.cpu_times()  # counted in ticks, of 10 ms as a rule
    return float(times.user + times.system)


def _format(concurrency: int, runs: dict[str, list[Figures]]) -> str:
    alone, through = runs.values()
    rows = [
        [way, *_cells(tuple(median(column) for column in zip(*(run.values() for run in made), strict=True)))]
        for way, made in runs.items()
    ]
    ratios = [
        [there / here for here, there in zip(a.values()[:4], t.values()[:4], strict=True)]
        for a, t in zip(alone, through, strict=True)
    ]
    columns = list(zip(*ratios, strict=True))
    rows.append(["ratio", *(f"{median(column):.2f}" for column in columns), "", ""])
    rows.append(["ratio, lowest to highest", *(f"{min(column):.2f}-{max(column):.2f}" for column in columns), "", ""])
    title = f"GET {PATH}, {concurrency} at a time, medians of {len(alone)} rounds of {ROUND_SECONDS:g} s each way"
    return format_table(title, COLUMNS, rows)


def _cells(values: tuple[float, ...]) -> list[str]:
    rate, p50, p99, *cpu = values
    return [f"{rate:.0f}", f"{p50:.2f}", f"{p99:.2f}", *(f"{used:.0f}" for used in cpu)]

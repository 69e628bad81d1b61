"""Ways to ask for the same thing under load, side by side: rates, latencies, and what each costs in CPU time."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import psutil

from benchmarks.driver import drive
from benchmarks.table import format_table, say

ROUND_SECONDS = 1.0
WARM_UP_SECONDS = 0.5
WARM_UP_CONCURRENCY = 32


class Way(NamedTuple):
    """What is asked, and the processes whose CPU time is told."""

    url: str
    process_ids: Sequence[int]


@dataclass(frozen=True)
class Figures:
    """One run: requests a second, latencies in ms, and the CPU time of one request in µs, the driver's last."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: tuple[float, ...]

    def values(self) -> tuple[float, ...]:
        """In the order of the table's columns."""
        return (self.requests_per_second, self.p50_ms, self.p99_ms, *self.cpu_us)


async def compare(
    title: str, ways: Mapping[str, Way], processes: Sequence[str], *, concurrency: int, rounds: int
) -> str:
    """A table of medians, and under it the last way's figures as multiples of each other way's, round by round.

    The ways take turns, and each goes first in some rounds. `processes` names those of a way, in its order.
    """
    for way in ways.values():
        await drive(way.url, concurrency=WARM_UP_CONCURRENCY, seconds=WARM_UP_SECONDS)
    runs: dict[str, list[Figures]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds):
        say(f"{title}, {concurrency} at a time, round {number + 1} of {rounds}")
        first = number % len(names)
        for name in [*names[first:], *names[:first]]:
            runs[name].append(await _run(ways[name], concurrency))
    rows = [[name, *_cells([median(column) for column in _columns(made)])] for name, made in runs.items()]
    *others, last = runs
    for other in others:
        rows += _ratios(other, last, runs)
    columns = ("way", "requests/s", "p50 ms", "p99 ms", *(f"{name} CPU µs" for name in (*processes, "driver")))
    return format_table(
        f"{title}, {concurrency} at a time, medians of {rounds} rounds of {ROUND_SECONDS:g} s each way", columns, rows
    )


async def _run(way: Way, concurrency: int) -> Figures:
    processes = [*map(psutil.Process, way.process_ids), psutil.Process()]
    before = [_cpu_seconds(process) for process in processes]
    load = await drive(way.url, concurrency=concurrency, seconds=ROUND_SECONDS)
    used = [_cpu_seconds(process) - was for process, was in zip(processes, before, strict=True)]
    per_request = tuple(seconds / len(load.latencies_seconds) * 1e6 for seconds in used)
    return Figures(load.requests_per_second, load.percentile_ms(50), load.percentile_ms(99), per_request)


def _cpu_seconds(process: psutil.Process) -> float:
    if process.pid == psutil.Process().pid:
        return time.process_time()
    times = process.cpu_times()  # counted in ticks, of 10 ms as a rule
    return float(times.user + times.system)


def _columns(made: Sequence[Figures]) -> list[tuple[float, ...]]:
    return list(zip(*(run.values() for run in made), strict=True))


def _ratios(other: str, last: str, runs: Mapping[str, list[Figures]]) -> list[list[str]]:
    """Of rates, latencies and the CPU time of the first process: of the others not every way uses each."""
    each_round = [
        [there / here for here, there in zip(one.values()[:4], another.values()[:4], strict=True)]
        for one, another in zip(runs[other], runs[last], strict=True)
    ]
    columns = list(zip(*each_round, strict=True))
    rest = [""] * (len(runs[last][0].values()) - len(columns))
    return [
        [f"{last} / {other}", *(f"{median(column):.2f}" for column in columns), *rest],
        ["  lowest to highest", *(f"{min(column):.2f}-{max(column):.2f}" for column in columns), *rest],
    ]


def _cells(values: Sequence[float]) -> list[str]:
    rate, p50, p99, *cpu = values
    return [f"{rate:.0f}", f"{p50:.2f}", f"{p99:.2f}", *(f"{used:.0f}" for used in cpu)]

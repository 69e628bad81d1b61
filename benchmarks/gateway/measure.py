"""All that is measured of the gateway, in its order, and how it stands beside what is wanted."""

import os
import shutil
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.gateway.aims import AIMS, Aim
from benchmarks.gateway.idle import measure_idle
from benchmarks.gateway.rates import (
    CONNECTIONS,
    HIT_PATH,
    ROUND_SECONDS,
    Runs,
    compare,
    measure_alone,
    measure_rates,
)
from benchmarks.gateway.servers import BARE, DIRECT, FLASK, GATEWAY, NAIVE, NGINX, Servers, pick_cores, running_servers
from benchmarks.gateway.soak import measure_soak
from benchmarks.gateway.tail import measure_tails
from benchmarks.gateway.wrk import run_wrk
from benchmarks.system import Ground
from benchmarks.table import format_table, say

WORKERS = 2


async def measure_gateway(ground: Ground, rounds: int, soak_seconds: float) -> str:
    """Tables, a chart in Mermaid, and a last table of every aim. Raises NotReady without two cores to pin to."""
    server_core, load_core = pick_cores()
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {load_core})  # wrk and the upstream inherit it
    told: list[str] = []
    figures: dict[Aim, float] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="wegit-") as name:
            folder = Path(name)
            async with running_servers(
                ground, folder, (DIRECT, GATEWAY, BARE, NAIVE, NGINX, FLASK), cores={server_core}
            ) as servers:
                told += servers.missing
                await _measure_speed(servers, folder, rounds, told, figures)
            async with running_servers(ground, folder, (GATEWAY,), cores={server_core}) as servers:
                table, found = await measure_idle(servers)
                told.append(table)
                figures |= found
            async with running_servers(ground, folder, (GATEWAY,), cores={server_core}) as servers:
                table, found = await measure_soak(servers, soak_seconds)
                told.append(table)
                figures |= found
            if shutil.which("wrk"):
                told.append(await _measure_workers(ground, folder, all_cores, rounds))
    finally:
        os.sched_setaffinity(0, all_cores)
    rows = [aim.row(figures.get(aim)) for aim in AIMS]
    told.append(format_table("What is wanted of the gateway", ("figure", "here", "aim", "limit", ""), rows))
    return "\n".join(told)


async def _measure_speed(
    servers: Servers, folder: Path, rounds: int, told: list[str], figures: dict[Aim, float]
) -> None:
    if shutil.which("wrk") is None:
        told.append("wrk is not installed (Debian, Ubuntu: apt install wrk): no rates\n")
    else:
        table, runs = await measure_rates(servers, folder, rounds)
        told += [table, _chart(runs)]
        figures |= compare(runs)
        table, found = await measure_tails(servers, runs, rounds)
        told.append(table)
        figures |= found
    table, found = await measure_alone(servers, rounds)
    told.append(table)
    figures |= found


async def _measure_workers(ground: Ground, folder: Path, cores: set[int], rounds: int) -> str:
    """One worker and several, over all cores, which the load has its share of: with two cores no more than a report."""
    script = folder / "wrk.lua"
    rates = {}
    for workers in (1, WORKERS):
        say(f"gateway: workers: {workers}, over {len(cores)} cores")
        async with running_servers(ground, folder, (GATEWAY,), cores=cores, workers=workers) as servers:
            url = f"{servers.urls[GATEWAY]}{HIT_PATH}"
            runs = [
                await run_wrk(url, connections=2 * CONNECTIONS, seconds=ROUND_SECONDS, script=script)
                for _ in range(rounds)
            ]
            rates[workers] = median(run.requests_per_second for run in runs)
    rows = [[str(workers), f"{rate:.0f}", f"{rate / rates[1]:.2f}"] for workers, rate in rates.items()]
    title = f"Hits by workers, {len(cores)} cores for gateway, load and upstream together; aim with 4 cores: 1.6"
    return format_table(title, ("workers", "requests/s", "÷ one"), rows)


def _chart(runs: Runs) -> str:
    """Mermaid's xychart: the CPU time of a request, which is steadier than rates are."""
    names = ", ".join(f'"{name}"' for name in runs)
    values = ", ".join(f"{median(run.server_cpu_us for run in made):.0f}" for made in runs.values())
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta horizontal",
            '    title "Server CPU µs of a request, 10 KB of JSON (less is better)"',
            f"    x-axis [{names}]",
            f"    bar [{values}]",
            "```",
            "",
        ]
    )

"""Real HTTP deliveries by one replica to a receiver here: how many a second, and where the time goes."""

import asyncio
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import psutil

from benchmarks.gateway.aims import Aim
from benchmarks.queue.contestants import Contestant
from benchmarks.system import Ground, NotReady
from benchmarks.table import format_table, say

RATE = Aim("HTTP deliveries a second, one replica", 1500, 1500)
BARE, QUEUE = "aiohttp alone, from memory", "notifier"


async def measure_http(ground: Ground, rounds: int, count: int) -> str:
    """Tables; `count` deliveries in a round, after one that does not count."""
    runs: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    async with ground.running_postgres() as url, _receiver() as (port, receiver):
        worker = Contestant(QUEUE, (sys.executable, "-m", "benchmarks.queue.webhooks"), url)
        postgres = _postmaster(worker)
        for number in range(rounds + 1):
            say(f"queue-http: round {number} of {rounds}" if number else "queue-http: warming up")
            for name, action in ((BARE, "bare"), (QUEUE, "deliver")):
                worker.sql("vacuum analyze", "checkpoint")
                before = [_cpu_seconds(process) for process in (postgres, receiver)]
                found = await worker.run(action, count, port)
                after = [_cpu_seconds(process) for process in (postgres, receiver)]
                used = [now - was for now, was in zip(after, before, strict=True)]
                if number:
                    runs[name].append((count / found["seconds"], *(one / count * 1e6 for one in (found["cpu"], *used))))
    middle = {name: [median(column) for column in zip(*made, strict=True)] for name, made in runs.items()}
    rows = []
    for name, (rate, client, database, there) in middle.items():
        rates = [made[0] for made in runs[name]]
        told = [
            f"{rate:.0f}",
            f"{min(rates):.0f}",
            f"{max(rates):.0f}",
            f"{rate / middle[BARE][0]:.2f}",
            f"{client:.0f}",
        ]
        rows.append([name, *told, f"{database:.0f}" if name == QUEUE else "–", f"{there:.0f}"])
    columns = ("way", "a second", "least", "most", "÷ alone", "client CPU µs", "Postgres CPU µs", "receiver CPU µs")
    title = f"{count} webhooks to a receiver here, signed, each with its record; medians of {rounds} rounds by turns"
    wanted = format_table("What is wanted of it", ("figure", "here", "aim", "limit", ""), [RATE.row(middle[QUEUE][0])])
    return f"{format_table(title, columns, rows)}\n{wanted}"


@asynccontextmanager
async def _receiver() -> AsyncIterator[tuple[int, psutil.Process]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.queue.receiver", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        if not line:
            raise NotReady("the receiver ended before it listened")
        yield int(line), psutil.Process(process.pid)
        process.stdin.close()
        say(f"queue-http: the receiver took {json.loads(await process.stdout.readline())['count']}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _postmaster(worker: Contestant) -> psutil.Process:
    [(path,)] = worker.sql("select current_setting('data_directory')")
    return psutil.Process(int(Path(path, "postmaster.pid").read_text(encoding="utf-8").split()[0]))


def _cpu_seconds(process: psutil.Process) -> float:
    """Its own, that of the children it has, and that of those it had: Postgres' sessions."""
    own = process.cpu_times()
    living = [child.cpu_times() for child in process.children()]
    total = own.user + own.system + own.children_user + own.children_system
    return float(total + sum(child.user + child.system for child in living))

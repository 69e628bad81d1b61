"""What each process keeps in memory while nothing happens."""

import asyncio
from math import nan

import psutil

from benchmarks.system import RunningSystem
from benchmarks.table import format_table, say

SETTLE_SECONDS = 3.0
AIM_MB = 60
COLUMNS = ("process", "RSS MB", "PSS MB", "USS MB")


async def measure_memory(system: RunningSystem) -> str:
    """A table in MB of 1024 x 1024 bytes: resident, with shared pages divided, and what ending the process would free.

    A process's children are counted with it: Postgres has many, and its RSS counts what they share many times.
    Only Linux tells PSS; elsewhere it is nan.
    """
    say(f"memory: waiting {SETTLE_SECONDS:g} s for everything to be idle")
    await asyncio.sleep(SETTLE_SECONDS)
    rows = []
    totals = [0.0, 0.0, 0.0]
    for name, process_id in system.process_ids.items():
        sizes = _sizes_mb(psutil.Process(process_id))
        totals = [total + size for total, size in zip(totals, sizes, strict=True)]
        rows.append([name, *(f"{size:.1f}" for size in sizes)])
    rows.append(["the whole", "", *(f"{total:.1f}" for total in totals[1:])])
    title = f"Memory, idle, {SETTLE_SECONDS:g} s after ready; aim: {AIM_MB} MB a service"
    return format_table(title, COLUMNS, rows)


def _sizes_mb(process: psutil.Process) -> list[float]:
    infos = [each.memory_full_info() for each in (process, *process.children(recursive=True))]
    return [sum(getattr(info, kind, nan) for info in infos) / 1024**2 for kind in ("rss", "pss", "uss")]

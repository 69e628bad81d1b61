"""How long it takes until each process, and the whole, is ready."""

from statistics import median

from benchmarks.system import Ground, RunningSystem
from benchmarks.table import format_table, say

AIM_SECONDS = 5.0
COLUMNS = ("process", "median s", "fastest s", "slowest s", "first start s")
WHOLE = "the whole"


async def measure_start(ground: Ground, rounds: int) -> str:
    """A table of starts on data that exist, beside the first one, which makes the cluster and all tables."""
    say("start: the first, on an empty database")
    async with ground.running_system() as system:
        first = _seconds(system)
    starts = []
    for number in range(rounds):
        say(f"start: round {number + 1} of {rounds}")
        async with ground.running_system() as system:
            starts.append(_seconds(system))
    rows = []
    for name in first:
        column = [start[name] for start in starts]
        rows.append([name, *(f"{value:.2f}" for value in (median(column), min(column), max(column), first[name]))])
    title = f"Start to ready, medians of {rounds} starts on data that exist; aim: the whole in {AIM_SECONDS:g} s"
    return format_table(title, COLUMNS, rows)


def _seconds(system: RunningSystem) -> dict[str, float]:
    return {**system.ready_seconds, WHOLE: system.whole_seconds}

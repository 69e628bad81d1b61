"""All that is measured of the queue, in its order, and how it stands beside what is wanted."""

import asyncio
from collections import defaultdict
from statistics import median, quantiles

from benchmarks.gateway.aims import Aim
from benchmarks.queue.contestants import GRAPHILE, OURS, PGQUEUER, PROCRASTINATE, Contestant, find_contestants
from benchmarks.system import Ground
from benchmarks.table import format_table, say

ENQUEUED = 20_000
SLOW_COUNT = 2_000
"""What procrastinate drains: 20,000 would take it most of a minute a round."""
SWEEP = (200, 500, 1000, 2000)
"""Batch sizes of pgqueuer; the one that is best in a first round is what it takes part with."""
TRICKLED = 250
"""Jobs of a round of pick-up latencies, one each 20 ms."""
REPLICAS = (1, 2, 4)
START_SECONDS = 6
"""For four processes to start in, on a machine with two cores."""
SETTLING = ("vacuum analyze", "checkpoint")

# Only the first has a limit beside its aim: elsewhere what misses the aim is missed.
DRAIN_PGQUEUER = Aim("drain ÷ pgqueuer at its best", 5, 3)
DRAIN_GRAPHILE = Aim("drain ÷ graphile-worker, batched", 1.2, 1.2)
DRAIN_PROCRASTINATE = Aim("drain ÷ procrastinate on aiopg", 40, 40)
ENQUEUE = Aim("enqueue by 1,000 ÷ best peer", 1.8, 1.8)
ENQUEUE_KEYS = Aim("the same with a deduplication key", 0.8, 0.8)
PICK_UP_P50 = Aim("pick-up p50 ÷ pgqueuer", 1, 1, at_least=False)
PICK_UP_P99 = Aim("pick-up p99 ÷ pgqueuer", 1.25, 1.25, at_least=False)
TWO = Aim("2 replicas ÷ 1", 0.95, 0.95)
FOUR = Aim("4 replicas ÷ 1", 0.95, 0.95)
AIMS = (
    DRAIN_PGQUEUER, DRAIN_GRAPHILE, DRAIN_PROCRASTINATE, ENQUEUE, ENQUEUE_KEYS, PICK_UP_P50, PICK_UP_P99, TWO, FOUR
)  # fmt: skip
Figures = dict[Aim, float]


async def measure_queue(ground: Ground, rounds: int, count: int) -> str:
    """Tables, and a last one of every aim; `count` deliveries in a drain."""
    async with ground.running_postgres() as url:
        contestants, told = await find_contestants(url)
        figures: Figures = {}
        for measure in (_measure_enqueue, _measure_drain, _measure_pick_up, _measure_replicas):
            table, found = await measure(contestants, rounds, count)
            told.append(table)
            figures |= found
    rows = [aim.row(figures.get(aim)) for aim in AIMS]
    told.append(format_table("What is wanted of the queue", ("figure", "here", "aim", "limit", ""), rows))
    return "\n".join(told)


async def _measure_enqueue(contestants: dict[str, Contestant], rounds: int, _count: int) -> tuple[str, Figures]:
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds):
        say(f"queue: enqueue, round {number + 1} of {rounds}")
        for contestant in contestants.values():
            for action in ("enqueue", "enqueue-keys"):
                await contestant.run("empty")
                _settle(contestant)
                rates[contestant.name, action].append(ENQUEUED / (await contestant.run(action, ENQUEUED))["seconds"])
    made = {key: median(values) for key, values in rates.items()}
    rows = [[name, *(f"{made[name, action]:.0f}" for action in ("enqueue", "enqueue-keys"))] for name in contestants]
    figures = {}
    for aim, action in ((ENQUEUE, "enqueue"), (ENQUEUE_KEYS, "enqueue-keys")):
        if best := max((made[name, action] for name in contestants if name != OURS), default=0.0):
            figures[aim] = made[OURS, action] / best
    title = f"Enqueue {ENQUEUED} in batches of 1,000, a second; median of {rounds}"
    return format_table(title, ("queue", "without key", "with a key"), rows), figures


async def _measure_drain(contestants: dict[str, Contestant], rounds: int, count: int) -> tuple[str, Figures]:
    batch = 0
    if peer := contestants.get(PGQUEUER):
        rates = {}
        for size in SWEEP:
            say(f"queue: pgqueuer with batches of {size}")
            await _fill(peer, ENQUEUED)
            rates[size] = ENQUEUED / (await peer.run("drain", ENQUEUED, size))["seconds"]
        batch = max(rates, key=lambda size: rates[size])
    runs: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    for number in range(rounds):
        say(f"queue: drain, round {number + 1} of {rounds}")
        for contestant in contestants.values():
            asked = SLOW_COUNT if contestant.name == PROCRASTINATE else count
            fan_out = await _fill(contestant, asked)
            before = _wal_bytes(contestant)
            found = await contestant.run("drain", asked, *([batch] if contestant.name == PGQUEUER else []))
            wal = _wal_bytes(contestant) - before
            runs[contestant.name].append((asked / found["seconds"], found["cpu"] / asked * 1e6, wal / asked, fan_out))
    middle = {name: [median(column) for column in zip(*made, strict=True)] for name, made in runs.items()}
    rows = []
    for name, (rate, cpu, wal, fan_out) in middle.items():
        told = f"{name}, batches of {batch}" if name == PGQUEUER else name
        each = [made[0] for made in runs[name]]
        spread = [f"{rate:.0f}", f"{min(each):.0f}", f"{max(each):.0f}", f"{middle[OURS][0] / rate:.2f}"]
        rows.append([told, *spread, f"{cpu:.1f}", f"{wal:.0f}", f"{fan_out:.0f}" if name == OURS else "–"])
    aims = {PGQUEUER: DRAIN_PGQUEUER, GRAPHILE: DRAIN_GRAPHILE, PROCRASTINATE: DRAIN_PROCRASTINATE}
    figures = {aim: middle[OURS][0] / middle[name][0] for name, aim in aims.items() if name in middle}
    title = f"Drain of {count} that do nothing, one process (procrastinate: {SLOW_COUNT}); {rounds} rounds"
    columns = ("queue", "a second", "least", "most", "ours ÷", "client CPU µs", "WAL bytes", "fan-out a second")
    return format_table(title, columns, rows), figures


async def _measure_pick_up(contestants: dict[str, Contestant], rounds: int, _count: int) -> tuple[str, Figures]:
    waited: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        say(f"queue: pick-up, round {number + 1} of {rounds}")
        for name in (OURS, PGQUEUER):
            if contestant := contestants.get(name):
                await contestant.run("empty")
                _settle(contestant)
                listening = asyncio.create_task(contestant.run("listen", TRICKLED))
                await asyncio.sleep(2.0)  # until it listens; what comes earlier waits, and would tell of the start
                await contestant.run("trickle", TRICKLED)
                waited[name] += (await listening)["waited"]
    rows, made = [], {}
    for name, values in waited.items():
        cuts = quantiles(values, n=100)
        made[name] = (cuts[49] * 1000, cuts[98] * 1000)
        rows.append([name, f"{made[name][0]:.2f}", f"{cuts[89] * 1000:.2f}", f"{made[name][1]:.2f}"])
    figures = {}
    if PGQUEUER in made:
        figures = {aim: made[OURS][i] / made[PGQUEUER][i] for i, aim in enumerate((PICK_UP_P50, PICK_UP_P99))}
    title = f"From the call that enqueues to the handler, ms: one each 20 ms, {rounds} rounds of {TRICKLED} by turns"
    return format_table(title, ("queue", "p50", "p90", "p99"), rows), figures


async def _measure_replicas(contestants: dict[str, Contestant], rounds: int, count: int) -> tuple[str, Figures]:
    ours = contestants[OURS]
    rates: dict[int, list[float]] = defaultdict(list)
    for number in range(rounds):
        say(f"queue: replicas, round {number + 1} of {rounds}")
        for replicas in REPLICAS:
            await _fill(ours, count)
            # Due when all have started: what starting costs is not to be seen in what the first ones do.
            [(due,)] = ours.sql(
                f"update delivery set run_at = now() + interval '{START_SECONDS} s'", *SETTLING,
                "select max(run_at) from delivery",
            )  # fmt: skip
            found = await asyncio.gather(*(ours.run("share", count) for _ in range(replicas)))
            [(last,)] = ours.sql("select max(at) from delivery_record")
            seconds = (last - due).total_seconds()
            assert sum(one["count"] for one in found) >= count
            rates[replicas].append(count / seconds)
    made = {replicas: median(values) for replicas, values in rates.items()}
    rows = [[str(replicas), f"{rate:.0f}", f"{rate / made[1]:.2f}"] for replicas, rate in made.items()]
    table = format_table(f"Drain of {count} by replicas", ("replicas", "a second", "÷ one"), rows)
    return table, {TWO: made[2] / made[1], FOUR: made[4] / made[1]}


async def _fill(contestant: Contestant, count: int) -> float:
    """So many jobs on a table that was empty; how many deliveries a second ours made of messages, others 0."""
    await contestant.run("empty")
    await contestant.run("enqueue", count)
    rate = count / (await contestant.run("fan-out"))["seconds"] if contestant.name == OURS else 0.0
    _settle(contestant)
    return rate


def _settle(contestant: Contestant) -> None:
    contestant.sql(*SETTLING)


def _wal_bytes(contestant: Contestant) -> int:
    return int(contestant.sql("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])

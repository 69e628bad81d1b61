"""What a claim takes while an old snapshot keeps vacuum from removing anything, with deliveries going through."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from statistics import quantiles
from unittest.mock import patch

import psycopg2
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from benchmarks.gateway.aims import Aim
from benchmarks.queue.ours import TOPIC, NoOp, empty
from benchmarks.system import Ground
from benchmarks.table import format_table, say
from notifier_service.claim_answer import Batch
from notifier_service.deliveries import Deliveries
from notifier_service.metrics import QueueMetrics
from notifier_service.own_connection import OwnConnection
from notifier_service.queue import Queue
from service_kit.database import Database
from service_kit.encryption import Encryption
from service_kit.tasks import running

PER_SECOND = 1000
STEP_SECONDS = 0.05
WARM_UP_SECONDS = 10.0
COUNTED_SECONDS = 60.0
"""Of each part, the last so many: of the one with the snapshot those at its oldest."""

HELD = Aim("claim p50, old snapshot held ÷ not", 1.5, 1.5, at_least=False)


class Claims:
    """What claims took that brought something: when each began, and for how long."""

    def __init__(self) -> None:
        self.made: list[tuple[float, float]] = []

    def last(self, seconds: float) -> list[float]:
        """Those that began within so many seconds, in ms."""
        since = time.perf_counter() - seconds
        return [took * 1000 for began, took in self.made if began >= since]


async def measure_snapshot(ground: Ground, held_seconds: int) -> str:
    """Tables, after that time and two minutes at most."""
    counted = min(COUNTED_SECONDS, held_seconds)
    rows, middle = [], []
    async with ground.running_postgres() as url, _delivering(url) as (claims, channel):
        await asyncio.sleep(WARM_UP_SECONDS)
        for name, seconds, is_held in (("none", counted, False), (f"held for {held_seconds} s", held_seconds, True)):
            say(f"queue-snapshot: {name}, {seconds:.0f} s")
            with closing(psycopg2.connect(url)) as holder:
                if is_held:
                    # A snapshot of its own for each statement would be let go at its end.
                    holder.set_session(isolation_level="REPEATABLE READ")
                    holder.cursor().execute("select count(*) from delivery")
                await asyncio.sleep(seconds - counted)
                before = channel.count
                await asyncio.sleep(counted)
                took = claims.last(counted)
                cuts = quantiles(took, n=100)
                [(dead,)] = await _dead_rows(url)
                middle.append(cuts[49])
                rate = (channel.count - before) / counted
                rows.append([name, f"{rate:.0f}", f"{len(took)}", f"{cuts[49]:.2f}", f"{cuts[98]:.2f}", f"{dead}"])
    title = f"Claims with {PER_SECOND} deliveries a second, the last {counted:.0f} s of each part"
    columns = ("old snapshot", "delivered a second", "claims", "p50 ms", "p99 ms", "dead rows")
    wanted = format_table(
        "What is wanted of it", ("figure", "here", "aim", "limit", ""), [HELD.row(middle[1] / middle[0])]
    )
    return f"{format_table(title, columns, rows)}\n{wanted}"


@asynccontextmanager
async def _delivering(url: str) -> AsyncIterator[tuple[Claims, NoOp]]:
    """A replica with all that it has, and messages that come at one rate, while the context is open."""
    database = Database(SecretStr(url), "benchmark")
    await database.open()
    connection = OwnConnection(database)
    channel, claims = NoOp(), Claims()

    async def enqueue() -> None:
        due = time.perf_counter()
        while True:
            await connection.rows(
                "select count(*) from enqueue_notifications(%s, array(select '{}'::jsonb from generate_series(1, %s)))",
                (TOPIC, int(PER_SECOND * STEP_SECONDS)),
            )
            due += STEP_SECONDS
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    claim = Queue.claim

    async def timed(queue: Queue, worker: int, limit: int) -> Batch:
        started = time.perf_counter()
        batch = await claim(queue, worker, limit)
        if batch.moved:
            claims.made.append((started, time.perf_counter() - started))
        return batch

    try:
        await empty(connection)
        deliveries = Deliveries(
            database, [channel], Encryption(SecretStr("k" * 32), "endpoints"), QueueMetrics(CollectorRegistry()), _fail
        )
        with patch.object(Queue, "claim", timed):
            async with deliveries.running(), running("enqueue", enqueue):
                yield claims, channel
    finally:
        connection.close()
        await database.close()


async def _dead_rows(url: str) -> list[tuple[int]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("select n_dead_tup from pg_stat_user_tables where relname = 'delivery'")
        return list(cursor.fetchall())


def _fail(error: BaseException) -> None:
    raise error

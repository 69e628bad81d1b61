"""Claims and endings that are cancelled anywhere on their way: the statement may have taken effect or not."""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from notifier_service.models import Delivered
from notifier_service.retry import next_step
from tests.fakes.queue_worker import QueueWorker, queue_worker
from tests.queue_database import QueueDatabase, eventually

CLAIMING = """
    select 1 from pg_stat_activity where state = 'active' and (query like '%with due as%' or query like 'execute %') and pid <> pg_backend_pid() and datname = current_database()
"""


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[QueueWorker]:
    async with queue_worker(database_url) as worker:
        yield worker


async def cancelled(work: Coroutine[Any, Any, Any], seconds: float) -> bool:
    """Run it and cancel it after so long; whether it was cut short."""
    task = asyncio.create_task(work)
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait({task})
    return task.cancelled()


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_is_lost_or_recorded_twice(worker: QueueWorker, database_url: str, seed: int) -> None:
    tables = QueueDatabase(database_url)
    tables.free_slots()
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 60)")
    await worker.fan_out.fan_out()
    chance = random.Random(seed)
    cuts = 0
    while tables.rows("select 1 from delivery limit 1"):
        cuts += await cancelled(worker.queue.claim(worker.id, 5), chance.choice([0, chance.uniform(0, 0.005)]))
        # A claim that nobody got the answer of is found by the next renewal, once no statement can be under way.
        await eventually(lambda: not tables.rows(CLAIMING))
        tables.rows("update delivery set lease_until = now() where state = 'running'")
        worker.heartbeat.renew_at_once()
        await worker.heartbeat.beat()
        for claimed in (await worker.claim(5)).ready:
            worker.completion.add(claimed, next_step(Delivered(200), 1), 1)
        cuts += await cancelled(worker.completion.flush(), chance.choice([0, chance.uniform(0, 0.005)]))
        await worker.completion.flush()

    assert cuts > 0
    assert tables.rows("select count(*), count(distinct delivery_id) from delivery_record") == [(60, 60)]
    assert set(tables.outcomes()) == {"delivered"}

"""Who holds what: beats, leases, and taking deliveries from workers that died."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from notifier_service.heartbeat import KNOWN_AFTER_SECONDS, RENEW_INTERVAL_SECONDS
from notifier_service.models import Delivered
from notifier_service.queue import LEASE_SECONDS
from notifier_service.retry import MOST_FAILURES
from service_kit.database import CONNECT_TIMEOUT_SECONDS, STATEMENT_TIMEOUT_SECONDS
from tests.fakes.queue_worker import QueueWorker, queue_worker
from tests.queue_database import QueueDatabase, eventually
from tests.throwaway_postgres import ThrowawayPostgres


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    tables = QueueDatabase(database_url)
    tables.free_slots()
    return tables


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[QueueWorker]:
    async with queue_worker(database_url) as worker:
        yield worker


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[QueueWorker]:
    async with queue_worker(database_url) as worker:
        yield worker


async def test_killed_workers_deliveries_are_taken_within_seconds_and_a_living_ones_are_not(
    worker: QueueWorker, other: QueueWorker, tables: QueueDatabase
) -> None:
    tables.enqueue(1)
    tables.enqueue(2)
    tables.wait_past_start()
    [lost] = (await worker.claim(1)).ready
    [kept] = (await other.claim(1)).ready
    worker.close()
    tables.rows("update worker set seen_at = now() - interval '3.1 s'")
    held = (  # in this database: others in the cluster have a worker 1 as well
        "select 1 from pg_locks where locktype = 'advisory' and objid = 1"
        " and database = (select oid from pg_database where datname = current_database())"
    )
    await eventually(lambda: not tables.rows(held))
    await other.rescue.look_after()

    assert tables.rows("select id, state, attempt, failures from delivery order by id") == [
        (lost.id, "ready", 1, 0),
        (kept.id, "running", 1, 0),
    ]
    assert tables.rows("select delivery_id, outcome, worker from delivery_record") == [(lost.id, "lost", worker.id)]


async def test_worker_that_is_silent_for_long_is_taken_for_dead_though_it_lives(
    worker: QueueWorker, other: QueueWorker, tables: QueueDatabase
) -> None:
    tables.enqueue()
    tables.wait_past_start()
    [claimed] = (await worker.claim()).ready
    tables.rows("update worker set seen_at = now() - interval '10.1 s' where id = %s", (worker.id,))
    await other.rescue.look_after()
    first = worker.id

    assert await worker.settle(claimed, Delivered(200)) == 1
    await worker.heartbeat.beat()
    assert worker.id != first
    assert len((await worker.claim()).ready) == 1


async def test_late_ending_does_not_make_a_worker_forget_that_it_has_claimed_it_anew(
    worker: QueueWorker, other: QueueWorker, tables: QueueDatabase
) -> None:
    tables.enqueue()
    tables.wait_past_start()
    [stale] = (await worker.claim()).ready
    tables.rows("update worker set seen_at = now() - interval '10.1 s' where id = %s", (worker.id,))
    await other.rescue.look_after()
    await worker.heartbeat.beat()
    [fresh] = (await worker.claim()).ready
    assert await worker.settle(stale, Delivered(200)) == 1
    tables.rows("update delivery set lease_until = now() + interval '5 s'")
    worker.heartbeat.renew_at_once()
    await worker.heartbeat.beat()

    assert tables.rows("select state, attempt from delivery") == [("running", fresh.attempt)]


async def test_after_a_restart_of_postgres_workers_beat_before_rescue(own_postgres: ThrowawayPostgres) -> None:
    tables = QueueDatabase(own_postgres.url)
    tables.free_slots()
    async with queue_worker(own_postgres.url) as worker, queue_worker(own_postgres.url) as gone:
        tables.enqueue(1)
        tables.enqueue(2)
        [claimed] = (await worker.claim(1)).ready
        [lost] = (await gone.claim(1)).ready
        gone.close()
        tables.rows("update worker set seen_at = now() - interval '1 minute'")
        await asyncio.to_thread(own_postgres.stop)
        await asyncio.to_thread(own_postgres.start)
        await worker.rescue.look_after()
        assert tables.outcomes() == []
        await worker.heartbeat.beat()
        tables.wait_past_start()
        await worker.rescue.look_after()

        assert await worker.settle(claimed, Delivered(200)) == 0
        assert tables.rows("select id, state, failures from delivery") == [(lost.id, "ready", 0)]
        assert sorted(tables.outcomes()) == ["delivered", "lost"]


async def test_delivery_that_kills_its_workers_ends_dead(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue()
    tables.wait_past_start()
    for _ in range(1 + MOST_FAILURES):
        await die_with(worker, tables, has_begun=True)

    assert tables.rows("select * from delivery") == []
    assert tables.rows("select reason from dead_letter") == [("the worker vanished before it was finished",)]
    assert tables.outcomes() == ["lost"] * MOST_FAILURES + ["dead"]


async def test_worker_that_dies_again_and_again_counts_against_nothing_that_it_had_not_begun(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.enqueue()
    tables.wait_past_start()
    for _ in range(2 * MOST_FAILURES):
        await die_with(worker, tables, has_begun=False)

    assert tables.rows("select state, failures, run_at <= now() from delivery") == [("ready", 0, True)]
    assert tables.outcomes() == ["lost"] * 2 * MOST_FAILURES


async def die_with(worker: QueueWorker, tables: QueueDatabase, *, has_begun: bool) -> None:
    """Claim the one delivery, begin to send it or not, and be taken for dead."""
    tables.hurry()
    [claimed] = (await worker.claim()).ready
    if has_begun and claimed.is_suspect:
        assert await worker.queue.begin(claimed)
    tables.rows("update worker set seen_at = now() - interval '10.1 s'")
    await worker.rescue.look_after()
    await worker.heartbeat.beat()


async def test_renewal_keeps_what_is_held_and_gives_back_what_nobody_knows_of(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.enqueue(1)
    tables.enqueue(2)
    held, stray = (await worker.claim()).ready
    del worker.completion.held[stray.id]
    tables.rows("update delivery set lease_until = now() + interval '5 s'")
    worker.heartbeat.renew_at_once()
    await worker.heartbeat.beat()

    assert tables.rows("select id, state, lease_until > now() + '50 s' from delivery order by id") == [
        (held.id, "running", True),
        (stray.id, "ready", None),
    ]


@pytest.mark.parametrize(
    ("age_seconds", "state"), [(KNOWN_AFTER_SECONDS - 2, "running"), (KNOWN_AFTER_SECONDS + 2, "ready")]
)
async def test_claim_is_taken_for_forgotten_only_when_its_answer_cannot_come_any_more(
    worker: QueueWorker, tables: QueueDatabase, age_seconds: float, state: str
) -> None:
    tables.enqueue()
    [claimed] = (await worker.claim()).ready
    worker.completion.forget(claimed)
    tables.rows("update delivery set lease_until = lease_until - make_interval(secs => %s)", (age_seconds,))
    worker.heartbeat.renew_at_once()
    await worker.heartbeat.beat()

    assert tables.rows("select state from delivery") == [(state,)]


def test_claim_ends_before_it_is_taken_for_forgotten_and_that_before_its_lease() -> None:
    rows, endpoints, slots = [STATEMENT_TIMEOUT_SECONDS] * 3
    assert rows + endpoints + slots + CONNECT_TIMEOUT_SECONDS < KNOWN_AFTER_SECONDS
    assert KNOWN_AFTER_SECONDS + RENEW_INTERVAL_SECONDS < LEASE_SECONDS


async def test_worker_that_leaves_hands_back_all_it_holds(database_url: str, tables: QueueDatabase) -> None:
    tables.enqueue()
    async with queue_worker(database_url) as leaving:
        async with leaving.heartbeat.beating():
            await eventually(leaving.heartbeat.may_send)
            await leaving.claim()
        assert tables.rows("select state, failures from delivery") == [("ready", 0)]
        assert tables.rows("select * from worker") == []


async def test_without_a_beat_nothing_more_is_sent(own_postgres: ThrowawayPostgres) -> None:
    async with queue_worker(own_postgres.url) as worker:
        assert worker.heartbeat.may_send()
        async with worker.heartbeat.beating():
            await asyncio.to_thread(own_postgres.stop)
            await eventually(lambda: not worker.heartbeat.may_send())
            await asyncio.to_thread(own_postgres.start)
            await eventually(worker.heartbeat.may_send)

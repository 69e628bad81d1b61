"""Into the queue and out of it, as far as a claim: a statement at a time, on a real Postgres."""

import asyncio
import select
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import psycopg2
import pytest

from tests.fakes.queue_worker import QueueWorker, queue_worker
from tests.queue_database import QueueDatabase


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    return QueueDatabase(database_url)


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[QueueWorker]:
    async with queue_worker(database_url) as worker:
        yield worker


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[QueueWorker]:
    async with queue_worker(database_url) as worker:
        yield worker


async def test_repeated_dedup_key_counts_occurrences_and_delivers_once(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    first = tables.rows("select enqueue_notification('alert', '{}', 'k', 2)")
    second = tables.rows("select enqueue_notification('alert', '{}', 'k', 3)")

    assert first == second
    await worker.fan_out.fan_out()
    assert tables.rows("select occurrences from message") == [(5,)]
    assert tables.rows("select channel, state, attempt from delivery") == [("slack", "ready", 0)]


def test_simultaneous_enqueues_with_one_key_become_one_message(tables: QueueDatabase) -> None:
    with ThreadPoolExecutor(10) as threads:
        ids = list(threads.map(lambda _: tables.enqueue(dedup_key="k"), range(50)))

    assert len(set(ids)) == 1
    assert tables.rows("select occurrences from message") == [(50,)]
    assert tables.rows("select count(*) from fan_out") == [(1,)]


def test_messages_without_a_key_are_never_merged(tables: QueueDatabase) -> None:
    assert tables.enqueue() != tables.enqueue()
    assert tables.rows("select count(*) from fan_out") == [(2,)]


async def test_topic_without_a_subscriber_is_stored_and_not_delivered(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.rows("select enqueue_notification('trending.entered', '{}')")
    await worker.fan_out.fan_out()

    assert tables.rows("select topic from message") == [("trending.entered",)]
    assert tables.rows("select * from fan_out") == []
    assert tables.rows("select * from delivery") == []


def test_enqueue_that_is_rolled_back_leaves_nothing(tables: QueueDatabase) -> None:
    connection = psycopg2.connect(tables.url)
    connection.cursor().execute("select enqueue_notification('alert', '{}')")
    connection.rollback()
    connection.close()

    assert tables.rows("select * from message") == []
    assert tables.rows("select * from fan_out") == []


def test_a_transaction_notifies_once(tables: QueueDatabase) -> None:
    listening = psycopg2.connect(tables.url)
    listening.autocommit = True
    listening.cursor().execute("listen delivery")
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 100)")
    select.select([listening], [], [], 5)
    listening.poll()

    assert len(listening.notifies) == 1
    listening.close()


def test_every_table_and_column_says_why_it_is_there(tables: QueueDatabase) -> None:
    said = dict(
        tables.rows("""
            select c.relname || coalesce('.' || a.attname, ''), d.description
            from pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public'
            cross join lateral (
                select null::name as attname, 0 as attnum
                union all select attname, attnum from pg_attribute
                where attrelid = c.oid and attnum > 0 and not attisdropped
            ) a
            left join pg_description d on d.objoid = c.oid and d.objsubid = a.attnum
            where c.relkind in ('r', 'p') and not c.relispartition and c.relname not like '%yoyo%'
        """)
    )

    assert {"account", "message.dedup_key", "delivery.attempt", "delivery_record.outcome"} <= said.keys()
    assert [name for name, description in said.items() if not description] == []


def test_batch_is_enqueued_and_what_is_known_is_left_as_it_is(tables: QueueDatabase) -> None:
    tables.rows("select enqueue_notification('t', '{}', 'b')")
    new = tables.rows("""
        select enqueue_notifications('t', array['{"n": 1}', '{"n": 2}', '{"n": 3}']::jsonb[], array['a', 'b', null])
    """)

    assert len(new) == 2
    assert tables.rows("select body ->> 'n', dedup_key from message order by id") == [
        (None, "b"),
        ("1", "a"),
        ("3", None),
    ]
    assert tables.rows("select count(*) from fan_out") == [(3,)]


async def test_crash_between_chunks_of_a_fan_out_repeats_and_skips_nobody(
    worker: QueueWorker, other: QueueWorker, tables: QueueDatabase
) -> None:
    tables.rows("""
        with made as (insert into endpoint (channel) select 'webhook' from generate_series(1, 12000) returning id)
        insert into subscription (endpoint_id, topic) select id, 'push' from made
    """)
    tables.rows("select enqueue_notification('push', '{}')")
    blocker = psycopg2.connect(tables.url)
    blocker.cursor().execute("lock table told in access exclusive mode")
    crashed = asyncio.create_task(worker.fan_out.fan_out())
    while not tables.rows("select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%fan_out%'"):
        await asyncio.sleep(0.01)
    crashed.cancel()
    await asyncio.gather(crashed, return_exceptions=True)
    tables.rows("""
        select pg_terminate_backend(pid) from pg_stat_activity
        where wait_event_type = 'Lock' and query like '%fan_out%' and pid <> pg_backend_pid()
    """)
    blocker.close()
    await other.fan_out.fan_out()

    assert tables.rows("select count(*), count(distinct endpoint_id) from delivery") == [(12000, 12000)]
    assert tables.rows("select * from fan_out") == []


async def test_claim_takes_the_longest_due_and_leaves_what_is_not_due(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    for number in range(4):
        tables.enqueue(number)
    tables.free_slots()
    await worker.fan_out.fan_out()
    tables.rows("update delivery set run_at = now() - interval '1 hour' where id = 3")
    tables.rows("update delivery set run_at = now() + interval '1 hour' where id = 1")

    assert [one.id for one in (await worker.claim(1)).ready] == [3]
    assert sorted(one.id for one in (await worker.claim(10)).ready) == [2, 4]
    assert (await worker.claim()).moved == 0


async def test_claim_counts_the_attempt_and_takes_a_lease(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue(7)
    [claimed] = (await worker.claim()).ready

    assert (claimed.attempt, claimed.occurrences, claimed.body["message"]) == (1, 1, "alert 7")
    assert (claimed.endpoint.name, claimed.idempotency_key) == ("settings:slack", "msg_1_1")
    assert tables.rows(
        "select state, attempt, worker, lease_until between now() + '55 s' and now() + '60 s' from delivery"
    ) == [("running", 1, worker.id, True)]


async def test_claimed_carries_the_count_until_then(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue(dedup_key="k")
    tables.enqueue(dedup_key="k")

    assert [one.occurrences for one in (await worker.claim()).ready] == [2]


async def test_claim_passes_over_what_another_one_is_claiming(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue(1)
    tables.enqueue(2)
    await worker.fan_out.fan_out()
    other = psycopg2.connect(tables.url)
    other.cursor().execute("select id from delivery where id = 1 for update")
    started = time.monotonic()

    assert [one.id for one in (await worker.claim()).ready] == [2]
    assert time.monotonic() - started < 1
    other.close()


async def test_two_workers_never_claim_the_same_delivery(
    worker: QueueWorker, other: QueueWorker, tables: QueueDatabase
) -> None:
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 200)")
    tables.free_slots()
    await worker.fan_out.fan_out()

    async def drain(one: QueueWorker) -> list[int]:
        mine: list[int] = []
        while batch := (await one.queue.claim(one.id, 3)).ready:
            mine += [claimed.id for claimed in batch]
        return mine

    shares = await asyncio.gather(drain(worker), drain(other))

    assert sorted(one for share in shares for one in share) == list(range(1, 201))
    assert all(shares)


async def test_delivery_that_was_put_back_is_found_below_the_floor(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue(1)
    assert (await worker.claim()).moved == 1
    tables.enqueue(2)
    await worker.fan_out.fan_out()
    tables.rows("update delivery set run_at = now() - interval '1 hour' where id = 2")

    async with asyncio.timeout(5):
        while not (batch := await worker.claim()).moved:
            await asyncio.sleep(0.05)
    assert [one.id for one in batch.ready] == [2]


async def test_what_is_past_its_time_is_not_sent(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.rows("select enqueue_notification('alert', '{}', expires_at => now() + '0.2 s')")
    await worker.fan_out.fan_out()
    tables.rows("select pg_sleep(0.3)")
    batch = await worker.claim()

    assert batch.ready == []
    assert [step.outcome for _, step in batch.ended] == ["expired"]


async def test_what_is_past_its_time_before_its_fan_out_is_made_for_nobody(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.rows("select enqueue_notification('alert', '{}', expires_at => now() - interval '1 s')")

    assert await worker.fan_out.fan_out() == 0
    assert tables.rows("select * from fan_out") == []


async def test_paused_channel_is_not_claimed_from_until_resumed(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue()
    tables.rows("insert into channel values ('slack', true)")
    assert (await worker.claim()).moved == 0
    tables.rows("update channel set paused = false")

    assert len((await worker.claim()).ready) == 1


async def test_deliveries_of_a_disabled_endpoint_end_dead_and_of_a_deleted_one_cancelled(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.enqueue(1)
    await worker.fan_out.fan_out()
    tables.rows("update endpoint set state = 'disabled'")
    disabled = await worker.claim()
    tables.rows("update delivery set state = 'ready'")
    tables.rows("delete from endpoint")
    deleted = await worker.claim()

    assert [step.outcome for _, step in disabled.ended] == ["dead"]
    assert [step.outcome for _, step in deleted.ended] == ["cancelled"]
    assert disabled.ready == deleted.ready == []


async def test_rate_of_an_endpoint_holds_over_workers_and_each_row_keeps_its_slot(
    worker: QueueWorker, other: QueueWorker, tables: QueueDatabase
) -> None:
    tables.rows("update endpoint set rate_per_second = 10, burst = 3")
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 20)")
    await worker.fan_out.fan_out()
    started = time.monotonic()
    batches = await asyncio.gather(worker.queue.claim(worker.id, 10), other.queue.claim(other.id, 10))
    at_once = sum(len(batch.ready) for batch in batches)
    passed = time.monotonic() - started

    assert 3 <= at_once <= 3 + 10 * passed + 1
    slots = tables.rows("select run_at from delivery where state = 'ready' and has_slot order by run_at")
    assert len(slots) == 20 - at_once
    gaps = [(later[0] - sooner[0]).total_seconds() for sooner, later in pairwise(slots)]
    assert gaps == pytest.approx([0.1] * (19 - at_once), abs=0.001)
    tables.rows("update delivery set run_at = now() where id = (select id from delivery where has_slot limit 1)")
    assert len((await worker.claim()).ready) >= 1


async def test_slot_that_was_missed_is_taken_anew(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.rows("update endpoint set rate_per_second = 0.1, slot_at = now()")
    tables.enqueue()
    tables.enqueue()
    await worker.fan_out.fan_out()
    tables.rows("update delivery set run_at = now() - interval '1 minute', has_slot = true")

    assert len((await worker.claim()).ready) == 1
    assert tables.rows("select count(*) from delivery where state = 'ready' and run_at > now() + '5 s'") == [(1,)]


async def test_endpoint_at_rest_holds_its_own_deliveries_and_nobody_elses(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.free_slots()
    tables.rows("""
        with made as (insert into endpoint (channel) values ('slack') returning id)
        insert into subscription (endpoint_id, topic) select id, 'alert' from made
    """)
    tables.enqueue()
    await worker.fan_out.fan_out()
    tables.rows("update endpoint set blocked_until = now() + interval '1 hour' where id = 1")

    assert [one.endpoint.id for one in (await worker.claim()).ready] == [2]
    assert tables.rows("select endpoint_id from delivery where state = 'held'") == [(1,)]
    tables.enqueue()
    await worker.fan_out.fan_out()
    assert tables.rows("select endpoint_id, state from delivery where message_id = 2 order by 1") == [
        (1, "held"),
        (2, "ready"),
    ]
    await worker.rescue.look_after()
    assert tables.rows("select count(*) from delivery where state = 'held'") == [(2,)]
    tables.rows("update endpoint set blocked_until = now() where id = 1")
    await worker.rescue.look_after()
    assert len((await worker.claim()).ready) == 3


async def test_failing_endpoint_is_tried_with_one_delivery(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.free_slots()
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 5)")
    tables.rows("update endpoint set failures = 5, blocked_until = now() + interval '0.1 s'")
    await worker.fan_out.fan_out()
    tables.rows("select pg_sleep(0.2)")
    await worker.rescue.look_after()
    await worker.rescue.look_after()

    assert tables.rows("select state, count(*) from delivery group by state order by state") == [
        ("held", 4),
        ("ready", 1),
    ]


async def test_hand_back_makes_what_nobody_began_to_send_ready_again(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.free_slots()
    tables.enqueue()
    [claimed] = (await worker.claim()).ready
    await worker.queue.hand_back([claimed])

    assert tables.rows("select state, attempt, failures from delivery") == [("ready", 1, 0)]
    assert [one.attempt for one in (await worker.claim()).ready] == [2]


@pytest.mark.parametrize(("sql", "seconds"), [("now() + '30 s'", 30.0), ("now() - interval '1 s'", None)])
async def test_next_run_is_known(worker: QueueWorker, tables: QueueDatabase, sql: str, seconds: float | None) -> None:
    tables.enqueue()
    await worker.fan_out.fan_out()
    tables.rows(f"update delivery set run_at = {sql}")

    assert await worker.queue.seconds_to_next() == (None if seconds is None else pytest.approx(seconds, abs=2))

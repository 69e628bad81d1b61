"""The queue's statements and the function that feeds it, on a real Postgres."""

import asyncio
import json
import select
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from pydantic import SecretStr

from notifier_service.models import Claimed
from notifier_service.queue import QUERIES, Queue
from notifier_service.retry import MOST_ATTEMPTS, Step
from service_kit.database import Database
from tests.queue_database import QueueDatabase
from tests.throwaway_postgres import ThrowawayPostgres

DELIVERED = Step("delivered", 200)


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    return QueueDatabase(database_url)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(SecretStr(database_url), "test")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


async def fan_out(queue: Queue) -> None:
    """Until every message has its deliveries."""
    while await queue.fan_out() is not None:
        pass


async def test_repeated_dedup_key_counts_occurrences_and_delivers_once(queue: Queue, tables: QueueDatabase) -> None:
    first = tables.rows("select enqueue_notification('alert', '{}', 'k', 2)")
    second = tables.rows("select enqueue_notification('alert', '{}', 'k', 3)")

    assert first == second
    await fan_out(queue)
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


async def test_topic_without_a_subscriber_is_stored_and_not_delivered(queue: Queue, tables: QueueDatabase) -> None:
    tables.rows("select enqueue_notification('trending.entered', '{}')")
    await fan_out(queue)

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


@pytest.mark.parametrize("plan_cache_mode", ["force_custom_plan", "force_generic_plan"])
def test_claim_reads_the_ready_index_however_many_rows_there_are(tables: QueueDatabase, plan_cache_mode: str) -> None:
    tables.rows("""
        insert into delivery (message_id, endpoint_id, channel, state, lease_until, worker)
        select n, 1, 'slack', case when n % 2 = 0 then 'ready' else 'running' end,
            case when n % 2 = 1 then now() + interval '1 hour' end, case when n % 2 = 1 then 1 end
        from generate_series(1, 50000) n
    """)
    tables.rows("insert into message (topic, body) select 'alert', '{}' from generate_series(1, 50000)")
    tables.rows("analyze")
    claim = QUERIES["claim"]
    for number, name in enumerate(("channel", "limit", "worker", "lease_seconds"), 1):
        claim = claim.replace(f"%({name})s", f"${number}")
    connection = psycopg2.connect(tables.url)
    cursor = connection.cursor()
    cursor.execute(f"set plan_cache_mode = {plan_cache_mode}; prepare claim (text, int, int, float8) as {claim}")
    cursor.execute("explain (format json) execute claim ('slack', 4, 1, 10)")
    scans = [node for node in _nodes(cursor.fetchone()[0][0]["Plan"]) if node.get("Relation Name") == "delivery"]
    connection.close()

    used = {(node["Node Type"], node.get("Index Name")) for node in scans if "Scan" in node["Node Type"]}
    assert ("Index Scan", "delivery_ready") in used
    assert {kind for kind, _ in used} == {"Index Scan"}, json.dumps(scans, indent=1)


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(inner for child in plan.get("Plans", []) for inner in _nodes(child))]


async def test_claim_takes_the_longest_due_and_leaves_what_is_not_due(queue: Queue, tables: QueueDatabase) -> None:
    for number in range(4):
        tables.enqueue(number)
    await fan_out(queue)
    tables.rows("update delivery set run_at = now() - interval '1 hour' where id = 3")
    tables.rows("update delivery set run_at = now() + interval '1 hour' where id = 1")

    assert [one.id for one in await queue.claim("slack", 1)] == [3]
    assert [one.id for one in await queue.claim("slack", 10)] == [2, 4]
    assert await queue.claim("another", 10) == []


async def test_claim_counts_the_attempt_and_takes_a_lease(queue: Queue, tables: QueueDatabase) -> None:
    tables.enqueue(7)
    await fan_out(queue)
    (claimed,) = await queue.claim("slack", 1)

    assert (claimed.attempt, claimed.occurrences, claimed.body["message"]) == (1, 1, "alert 7")
    assert tables.rows(
        "select state, attempt, worker, lease_until between now() + '8 s' and now() + '10 s' from delivery"
    ) == [("running", 1, queue.worker, True)]


async def test_claim_passes_over_what_another_one_is_claiming(queue: Queue, tables: QueueDatabase) -> None:
    tables.enqueue(1)
    tables.enqueue(2)
    await fan_out(queue)
    other = psycopg2.connect(tables.url)
    other.cursor().execute("select id from delivery where id = 1 for update")
    started = time.monotonic()

    assert [one.id for one in await queue.claim("slack", 2)] == [2]
    assert time.monotonic() - started < 1
    other.close()


async def test_two_workers_never_claim_the_same_delivery(database: Database, tables: QueueDatabase) -> None:
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 200)")
    await fan_out(Queue(database))

    async def drain(queue: Queue) -> list[int]:
        mine: list[int] = []
        while claimed := await queue.claim("slack", 3):
            mine += [one.id for one in claimed]
        return mine

    shares = await asyncio.gather(drain(Queue(database)), drain(Queue(database)), drain(Queue(database)))

    assert sorted(one for share in shares for one in share) == list(range(1, 201))
    assert sum(1 for share in shares if share) >= 2


async def test_delivered_leaves_the_hot_table_and_is_recorded(queue: Queue, tables: QueueDatabase) -> None:
    tables.enqueue()
    await fan_out(queue)
    (claimed,) = await queue.claim("slack", 1)

    assert await queue.settle(claimed, DELIVERED, 35)
    assert tables.rows("select * from delivery") == []
    assert tables.rows(
        "select message_id, channel, attempt, outcome, http_status, duration_ms, error, worker from delivery_record"
    ) == [(claimed.message_id, "slack", 1, "delivered", 200, 35, None, queue.worker)]


async def test_failed_try_is_recorded_and_put_off(queue: Queue, tables: QueueDatabase) -> None:
    tables.enqueue()
    await fan_out(queue)
    (claimed,) = await queue.claim("slack", 1)

    assert await queue.settle(claimed, Step("failed", 500, "slack answered 500", 60.0), 35)
    assert tables.rows(
        "select state, attempt, worker, last_error, run_at between now() + '55 s' and now() + '60 s' from delivery"
    ) == [("ready", 1, None, "slack answered 500", True)]
    assert tables.rows("select outcome, http_status, error, worker from delivery_record") == [
        ("failed", 500, "slack answered 500", queue.worker)
    ]


@pytest.mark.parametrize("late", [DELIVERED, Step("failed", 500, "late", 1.0)])
async def test_late_worker_cannot_settle_a_newer_attempt(database: Database, tables: QueueDatabase, late: Step) -> None:
    slow, quick = Queue(database), Queue(database)
    tables.enqueue()
    await fan_out(slow)
    (stale,) = await slow.claim("slack", 1)
    tables.expire_leases()
    await quick.rescue()
    (fresh,) = await quick.claim("slack", 1)

    assert fresh.attempt == 2
    assert not await slow.settle(stale, late, 1)
    assert tables.rows("select state, attempt, worker from delivery") == [("running", 2, quick.worker)]
    assert await quick.settle(fresh, DELIVERED, 1)
    assert tables.outcomes() == ["lost", "delivered"]


async def test_settling_twice_changes_and_records_nothing_more(queue: Queue, tables: QueueDatabase) -> None:
    tables.enqueue()
    await fan_out(queue)
    (claimed,) = await queue.claim("slack", 1)
    await queue.settle(claimed, DELIVERED, 1)

    assert not await queue.settle(claimed, DELIVERED, 1)
    assert tables.outcomes() == ["delivered"]


async def test_rescue_takes_only_leases_that_ran_out(queue: Queue, tables: QueueDatabase) -> None:
    tables.enqueue(1)
    tables.enqueue(2)
    await fan_out(queue)
    await queue.claim("slack", 2)
    tables.expire_leases(of="id = 1")

    assert await queue.rescue() == [(1, "lost")]
    assert tables.rows("select id, state, attempt, run_at <= now() from delivery order by id") == [
        (1, "ready", 1, True),
        (2, "running", 1, True),
    ]


async def test_after_a_restart_of_postgres_workers_settle_before_rescue(own_postgres: ThrowawayPostgres) -> None:
    own_postgres.stop()
    own_postgres.start()
    tables = QueueDatabase(own_postgres.url)
    database = Database(SecretStr(own_postgres.url), "test")
    await database.open()
    queue = Queue(database)
    tables.enqueue(1)
    tables.enqueue(2)
    await fan_out(queue)
    first, _second = await queue.claim("slack", 2)
    tables.rows("update delivery set lease_until = now()")

    assert await queue.rescue() == []
    assert await queue.settle(first, DELIVERED, 1)
    rescued: list[tuple[int, str]] = []
    async with asyncio.timeout(5):
        while not rescued:
            rescued = await queue.rescue()
    assert rescued == [(2, "lost")]
    await database.close()


async def test_delivery_that_kills_its_workers_ends_dead(queue: Queue, tables: QueueDatabase) -> None:
    tables.enqueue()
    await fan_out(queue)
    for _ in range(MOST_ATTEMPTS):
        tables.hurry()
        await queue.claim("slack", 1)
        tables.expire_leases()
        await queue.rescue()

    assert tables.rows("select * from delivery") == []
    assert tables.outcomes() == ["lost"] * (MOST_ATTEMPTS - 1) + ["dead"]


async def test_hand_back_frees_what_this_worker_holds(database: Database, tables: QueueDatabase) -> None:
    leaving, staying = Queue(database), Queue(database)
    tables.enqueue(1)
    tables.enqueue(2)
    await fan_out(leaving)
    await leaving.claim("slack", 1)
    await staying.claim("slack", 1)

    assert await leaving.hand_back("slack") == 1
    assert tables.rows("select id, state, worker from delivery order by id") == [
        (1, "ready", None),
        (2, "running", staying.worker),
    ]


async def test_forget_deletes_what_is_past_its_time_and_keeps_what_waits(queue: Queue, tables: QueueDatabase) -> None:
    for number in range(3):
        tables.enqueue(number)
    await fan_out(queue)
    old, _recent = await queue.claim("slack", 2)
    await queue.settle(old, DELIVERED, 1)
    await queue.settle(_recent, DELIVERED, 1)
    tables.rows("update message set created_at = now() - interval '15 days' where id in (1, 3)")
    tables.rows("update delivery_record set at = now() - interval '15 days' where message_id = 1")

    assert await queue.forget() == 2
    assert await queue.forget() == 0
    assert tables.rows("select id from message order by id") == [(2,), (3,)]
    assert tables.rows("select message_id from delivery_record") == [(2,)]


async def test_claimed_carries_the_count_until_then(queue: Queue, tables: QueueDatabase) -> None:
    tables.enqueue(dedup_key="k")
    tables.enqueue(dedup_key="k")
    await fan_out(queue)
    claimed = await queue.claim("slack", 1)

    assert [type(one) for one in claimed] == [Claimed]
    assert claimed[0].occurrences == 2

"""The queue's own care: partitions, vacuum, what is forgotten, and what it counts."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from notifier_service.maintenance import BEGIN, Maintenance
from notifier_service.metrics import Gauging
from notifier_service.models import Delivered
from notifier_service.own_connection import OwnConnection
from service_kit.database import Database
from tests.fakes.queue_worker import QueueWorker, queue_worker
from tests.queue_database import QueueDatabase


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
async def maintenance(database_url: str) -> AsyncIterator[Maintenance]:
    database = Database(SecretStr(database_url), "test")
    await database.open()
    connection = OwnConnection(database, *BEGIN)
    yield Maintenance(connection)
    connection.close()
    await database.close()


async def test_partitions_are_made_ahead_and_dropped_after_their_time(
    maintenance: Maintenance, tables: QueueDatabase
) -> None:
    tables.rows(
        "create table delivery_record_20200101 partition of delivery_record"
        " for values from ('2020-01-01') to ('2020-01-02')"
    )
    tables.rows("drop table if exists delivery_record_20300101")
    await maintenance.keep_house()

    names = [
        row[0]
        for row in tables.rows(
            "select relname::text from pg_inherits join pg_class on pg_class.oid = inhrelid"
            " where inhparent = 'delivery_record'::regclass order by 1"
        )
    ]
    assert "delivery_record_20200101" not in names
    assert (
        tables.rows("select 'delivery_record_' || to_char((now() at time zone 'UTC')::date + 7, 'YYYYMMDD')")[0][0]
        in names
    )
    assert "delivery_record_default" in names


async def test_records_that_came_before_their_partition_move_into_it(
    maintenance: Maintenance, worker: QueueWorker, tables: QueueDatabase
) -> None:
    """As after a week in which no notifier ran, or in which it was migrated and not started."""
    [(today,)] = tables.rows("select 'delivery_record_' || to_char(now() at time zone 'UTC', 'YYYYMMDD')")
    tables.rows(f"drop table {today}")
    tables.enqueue()
    [claimed] = (await worker.claim()).ready
    await worker.settle(claimed, Delivered(200))
    assert tables.rows("select tableoid::regclass::text from delivery_record") == [("delivery_record_default",)]
    await maintenance.keep_house()

    assert tables.rows("select tableoid::regclass::text, outcome from delivery_record") == [(today, "delivered")]
    assert tables.rows("select count(*) from pg_trigger where tgrelid = %s::regclass", (today,)) == [(1,)]


async def test_replicas_that_start_together_make_partitions_once(tables: QueueDatabase, database_url: str) -> None:
    for (name,) in tables.rows(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'delivery_record'::regclass"
        " and inhrelid <> 'delivery_record_default'::regclass"
    ):
        tables.rows(f"drop table {name}")
    make = "select make_delivery_record_partitions(3)"
    await asyncio.gather(*(asyncio.to_thread(QueueDatabase(database_url).rows, make) for _ in range(5)))

    assert tables.rows("select count(*) from pg_inherits where inhparent = 'delivery_record'::regclass") == [(5,)]


async def test_forgets_messages_past_their_time_and_keeps_what_waits_or_is_dead(
    maintenance: Maintenance, worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 4)")
    first, second = (await worker.claim(2)).ready
    await worker.settle(first, Delivered(200))
    tables.rows("delete from delivery where id = %s", (second.id,))
    tables.rows(
        """
        insert into dead_letter (delivery_id, message_id, endpoint_id, channel, attempt, created_at, reason)
        values (%s, %s, 1, 'slack', 1, now(), 'r')
    """,
        (second.id, second.message_id),
    )
    tables.rows("select enqueue_notification('unheard', '{}')")
    tables.rows("update message set created_at = now() - interval '15 days'")
    tables.rows("update delivery set created_at = now() - interval '15 days'")
    await maintenance.keep_house()

    assert [row[0] for row in tables.rows("select id from message order by id")] == [2, 3, 4, 5]


async def test_what_was_held_for_an_endpoint_that_is_gone_leaves_with_a_record(
    maintenance: Maintenance, tables: QueueDatabase
) -> None:
    tables.rows("insert into delivery (message_id, endpoint_id, channel, state) values (1, 999, 'wechat', 'held')")
    tables.rows("insert into wechat_reservation (delivery_id, attempt, reader, template_id) values (1, 1, '', '')")
    await maintenance.keep_house()

    assert tables.rows("select * from delivery") == tables.rows("select * from wechat_reservation") == []
    assert tables.rows("select outcome, error from delivery_record") == [("cancelled", "its endpoint is gone")]


async def test_message_of_a_replay_is_kept_while_it_is_on_its_way(
    maintenance: Maintenance, tables: QueueDatabase
) -> None:
    message = tables.enqueue()
    tables.rows("delete from fan_out")
    tables.rows("update message set created_at = now() - interval '15 days'")
    tables.rows("insert into delivery (message_id, endpoint_id, channel) values (%s, 1, 'slack')", (message,))
    await maintenance.keep_house()

    assert tables.rows("select id from message") == [(message,)]


async def test_vacuums_what_the_queue_has_rewritten(maintenance: Maintenance, tables: QueueDatabase) -> None:
    tables.rows(
        "insert into delivery (message_id, endpoint_id, channel) select n, 1, 'x' from generate_series(1, 6000) n"
    )
    tables.rows("delete from delivery")
    tables.rows("select pg_stat_force_next_flush()")
    tables.rows("insert into delivery (message_id, endpoint_id, channel) values (1, 1, 'x')")
    assert tables.rows("select n_dead_tup > 5000 from pg_stat_user_tables where relname = 'delivery'") == [(True,)]
    await maintenance.care()

    assert tables.rows("select n_dead_tup, vacuum_count from pg_stat_user_tables where relname = 'delivery'") == [
        (0, 1)
    ]


async def test_metrics_tell_of_age_depth_and_outcomes(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 3)")
    [claimed] = (await worker.claim(1)).ready
    await worker.settle(claimed, Delivered(200))
    tables.rows("update delivery set run_at = now() - interval '1 minute' where id = (select min(id) from delivery)")
    await Gauging(worker.connection, worker.metrics, ["slack", "webhook"]).look()

    def value(name: str, **labels: str) -> float | None:
        return worker.registry.get_sample_value(name, labels)

    assert value("queue_deliveries", channel="slack", state="ready") == 2
    assert value("delivery_oldest_ready_seconds", channel="slack") == pytest.approx(60, abs=5)
    assert value("delivery_oldest_ready_seconds", channel="webhook") == 0
    assert value("delivery_outcomes_total", channel="slack", outcome="delivered") == 1
    assert value("delivery_end_to_end_seconds_count", channel="slack") == 1
    assert value("completion_rows_bucket", channel="slack", le="1") == 1

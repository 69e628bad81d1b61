"""How tries end: written in batches, fenced, with their records, and what they tell of the endpoint."""

from collections.abc import AsyncIterator

import psycopg2
import pytest

from notifier_service.models import Answer, Delivered, Rejected, Skipped, Unreachable
from notifier_service.retry import MOST_FAILURES
from notifier_service.steering import Dead, Steering
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
async def other(database_url: str) -> AsyncIterator[QueueWorker]:
    async with queue_worker(database_url) as worker:
        yield worker


async def test_delivered_leaves_the_hot_table_and_is_recorded(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue()
    [claimed] = (await worker.claim()).ready

    assert await worker.settle(claimed, Delivered(200)) == 0
    assert tables.rows("select * from delivery") == []
    assert tables.rows(
        "select message_id, endpoint_id, channel, attempt, outcome, http_status, duration_ms, error, worker"
        " from delivery_record"
    ) == [(1, 1, "slack", 1, "delivered", 200, 35, None, worker.id)]


async def test_what_the_receiver_calls_it_is_recorded(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue()
    [claimed] = (await worker.claim()).ready
    await worker.settle(claimed, Delivered(200, "m1"))

    assert tables.rows("select outcome, provider_id from delivery_record") == [("delivered", "m1")]


async def test_failed_try_is_recorded_and_put_off(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue()
    [claimed] = (await worker.claim()).ready
    await worker.settle(claimed, Unreachable("slack answered 500", http_status=500))

    assert tables.rows(
        "select state, attempt, failures, last_error, run_at between now() - interval '1 s' and now() + '5 s' from delivery"
    ) == [("ready", 1, 1, "slack answered 500", True)]
    assert tables.rows("select outcome, http_status, error, worker from delivery_record") == [
        ("failed", 500, "slack answered 500", worker.id)
    ]


async def test_retry_after_is_obeyed_for_the_endpoint_and_does_not_count_against_the_delivery(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.enqueue()
    [claimed] = (await worker.claim()).ready
    await worker.settle(claimed, Unreachable("limited", http_status=429, retry_after_seconds=60))

    assert tables.rows("select failures, run_at between now() + '55 s' and now() + '61 s' from delivery") == [(0, True)]
    assert tables.rows("select failures, blocked_until > now() + '55 s' from endpoint") == [(1, True)]
    assert tables.outcomes() == ["limited"]


async def test_what_is_given_up_is_kept_as_a_dead_letter(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue()
    await worker.fan_out.fan_out()
    tables.rows("update delivery set failures = %s", (MOST_FAILURES - 1,))
    [claimed] = (await worker.claim()).ready
    await worker.settle(claimed, Unreachable("away\0 with ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"))

    assert tables.rows("select * from delivery") == []
    [(delivery, message, endpoint, reason)] = tables.rows(
        "select delivery_id, message_id, endpoint_id, reason from dead_letter"
    )
    assert (delivery, message, endpoint) == (claimed.id, 1, 1)
    assert reason.startswith("away\N{REPLACEMENT CHARACTER} with ")
    assert "ghp_" not in reason
    assert tables.outcomes() == ["dead"]


async def test_replay_has_another_week(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue()
    await worker.fan_out.fan_out()
    put_off = Unreachable("later", retry_after_seconds=60.0)
    tables.rows("update delivery set created_at = now() - interval '7 days 1 s'")
    await worker.settle((await worker.claim()).ready[0], put_off)
    assert tables.outcomes() == ["dead"]
    tables.rows("update endpoint set blocked_until = null")
    [[again]] = [chunk async for chunk in Steering(worker.database).replay(Dead())]
    await worker.settle((await worker.claim()).ready[0], put_off)

    assert tables.outcomes() == ["dead", "limited"]
    assert tables.rows("select id, created_at > now() - interval '1 min' from delivery") == [(again, True)]


@pytest.mark.parametrize(
    "late", [Delivered(200), Unreachable("late"), Rejected("late")], ids=lambda one: type(one).__name__
)
async def test_late_worker_cannot_finish_a_newer_attempt(
    worker: QueueWorker, other: QueueWorker, tables: QueueDatabase, late: Answer | Unreachable
) -> None:
    tables.enqueue()
    [stale] = (await worker.claim()).ready
    tables.rows("update delivery set state = 'ready'")
    [fresh] = (await other.claim()).ready

    assert fresh.attempt == 2
    assert await worker.settle(stale, late) == 1
    assert tables.rows("select state, attempt, worker from delivery") == [("running", 2, other.id)]
    assert tables.rows("select * from dead_letter") == []
    assert await other.settle(fresh, Delivered(200)) == 0
    assert tables.outcomes() == ["delivered"]


async def test_writing_an_ending_twice_changes_and_records_nothing_more(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.enqueue()
    [claimed] = (await worker.claim()).ready
    await worker.settle(claimed, Delivered(200))

    assert await worker.settle(claimed, Delivered(200)) == 1
    assert tables.outcomes() == ["delivered"]


async def test_batch_of_all_endings_is_written_at_once(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 4)")
    endings: list[Answer | Unreachable] = [Delivered(200), Skipped("nobody"), Rejected("no", 400), Unreachable("away")]
    batch = (await worker.claim()).ready
    for claimed, ending in zip(batch[:-1], endings, strict=False):
        worker.add(claimed, ending)
    assert await worker.settle(batch[-1], endings[-1]) == 0

    assert sorted(tables.outcomes()) == ["dead", "delivered", "failed", "skipped"]
    assert tables.rows("select count(*) from delivery") == [(1,)]


def refuse_records(tables: QueueDatabase, condition: str) -> None:
    tables.rows(f"""
        create function refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
        create trigger refuse before insert on delivery_record
        for each row when ({condition}) execute function refuse();
    """)


async def test_ending_that_postgres_refuses_holds_up_no_other_and_counts(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    refuse_records(tables, "new.error = 'poison'")
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 3)")
    first, second, third = (await worker.claim()).ready
    claimed_at = tables.rows("select clock_timestamp()")[0]
    worker.add(first, Unreachable("away"))
    worker.add(second, Unreachable("poison"))
    await worker.settle(third, Unreachable("away"))

    refusal = "failed, but Postgres refused to record it: RaiseException"
    # With full jitter the next try may be due at once.
    ended = "select state, failures, last_error, run_at > %s from delivery order by id"
    assert tables.rows(ended, claimed_at) == [("ready", 1, error, True) for error in ("away", refusal, "away")]
    assert [type(error) for error in worker.reported] == [psycopg2.errors.RaiseException]


async def test_delivery_whose_endings_postgres_always_refuses_ends_as_a_dead_letter(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    refuse_records(tables, "new.error = 'poison'")
    tables.enqueue()
    for _ in range(MOST_FAILURES):
        tables.hurry()
        [claimed] = (await worker.claim()).ready
        await worker.settle(claimed, Unreachable("poison"))

    assert tables.rows("select * from delivery") == []
    assert tables.rows("select reason from dead_letter") == [
        ("dead, but Postgres refused to record it: RaiseException",)
    ]


@pytest.mark.parametrize("provider_id", [None, "which has its own statement"])
async def test_what_arrived_is_not_sent_again_though_postgres_refuses_to_record_it(
    worker: QueueWorker, tables: QueueDatabase, provider_id: str | None
) -> None:
    refuse_records(tables, "new.http_status = 299")
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 2)")
    first, second = (await worker.claim()).ready
    worker.add(first, Delivered(299, provider_id))
    await worker.settle(second, Delivered(200))

    assert tables.rows("select * from delivery") == []
    assert tables.outcomes() == ["delivered"]
    assert tables.rows("select delivery_id, reason from dead_letter") == [
        (first.id, "delivered, but Postgres refused to record it: RaiseException")
    ]


async def test_fifth_failure_in_a_row_lets_an_endpoint_rest_and_success_ends_it(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 7)")
    batch = (await worker.claim()).ready
    for claimed in batch[:4]:
        await worker.settle(claimed, Unreachable("away"))
    assert tables.rows("select failures, blocked_until from endpoint") == [(4, None)]
    await worker.settle(batch[4], Unreachable("away"))

    rests = "select failures, blocked_until between now() + '1 s' and now() + '5 s' from endpoint"
    assert tables.rows(rests) == [(5, True)]
    await worker.settle(batch[5], Unreachable("away, as of before"))
    assert tables.rows(rests) == [(5, True)]
    tables.rows("update endpoint set blocked_until = now()")
    tables.rows("update delivery set state = 'ready', run_at = now()")
    [trial] = (await worker.claim(1)).ready
    await worker.settle(trial, Delivered(200))
    assert tables.rows("select failures, blocked_until <= now() from endpoint") == [(0, True)]


async def test_success_in_the_same_batch_does_not_undo_a_retry_after(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.rows("update endpoint set failures = 1")
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 2)")
    first, second = (await worker.claim()).ready
    worker.add(first, Delivered(200))
    await worker.settle(second, Unreachable("limited", retry_after_seconds=60))

    assert tables.rows("select blocked_until > now() + '55 s' from endpoint") == [(True,)]


async def test_endpoint_that_puts_off_time_after_time_rests_however_soon_it_says_to_come_back(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.rows("update endpoint set failures = 9")
    tables.enqueue()
    [claimed] = (await worker.claim()).ready
    await worker.settle(claimed, Unreachable("limited", retry_after_seconds=0))

    assert tables.rows("select failures, blocked_until > now() + '1 minute' from endpoint") == [(10, True)]


async def test_endpoint_that_is_gone_is_disabled_with_the_reason(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.enqueue()
    [claimed] = (await worker.claim()).ready
    [(version,)] = tables.rows("select version from endpoint")
    await worker.settle(claimed, Rejected("slack answered 404: no_service", 404, disable_endpoint=True))

    assert tables.rows("select state, disabled_reason, version from endpoint") == [
        ("disabled", "slack answered 404: no_service", version + 1)
    ]

"""Schedules: cron's ticks by the database's clock, each enqueued once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from notifier_service.schedule import next_tick
from tests.fakes.queue_worker import QueueWorker, queue_worker
from tests.queue_database import QueueDatabase


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    return QueueDatabase(database_url)


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[QueueWorker]:
    async with queue_worker(database_url) as worker:
        yield worker


@pytest.mark.parametrize(
    ("cron", "time_zone", "after", "tick"),
    [
        ("0 9 * * *", "UTC", "2026-11-27T08:59:59Z", "2026-11-27T09:00:00Z"),
        ("0 9 * * *", "UTC", "2026-11-27T09:00:00Z", "2026-11-28T09:00:00Z"),
        ("0 9 * * *", "Asia/Shanghai", "2026-11-27T00:30:00Z", "2026-11-27T01:00:00Z"),
        ("*/15 * * * *", "UTC", "2026-11-27T08:50:00Z", "2026-11-27T09:00:00Z"),
        # The hour that is left out: right after it. The hour that comes twice: once.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
    ],
)
def test_next_tick(cron: str, time_zone: str, after: str, tick: str) -> None:
    assert next_tick(cron, time_zone, datetime.fromisoformat(after)).astimezone(UTC) == datetime.fromisoformat(tick)


@pytest.mark.parametrize(("cron", "time_zone"), [("often", "UTC"), ("0 9 * * *", "Mars/Base"), ("0 25 * * *", "UTC")])
def test_what_is_no_cron_in_a_known_time_zone_is_refused(cron: str, time_zone: str) -> None:
    with pytest.raises(ValueError, match="not a cron"):
        next_tick(cron, time_zone, datetime.now(UTC))


async def test_two_schedulers_fire_a_tick_once_and_missed_ones_are_made_up_for_by_one(
    worker: QueueWorker, database_url: str, tables: QueueDatabase
) -> None:
    tables.rows("""
        insert into schedule (name, cron, topic, body, next_at)
        values ('hourly', '0 * * * *', 'tick', '{"n": 1}', date_trunc('hour', now()) - interval '5 hours')
    """)
    async with queue_worker(database_url) as other:
        fired = await asyncio.gather(*(one.scheduler.tick() for one in (worker, other) for _ in range(5)))

    assert sum(fired) == 1
    assert tables.rows("select topic, body, occurrences from message") == [("tick", {"n": 1}, 1)]
    assert tables.rows("select next_at = date_trunc('hour', now()) + interval '1 hour' from schedule") == [(True,)]


async def test_two_schedulers_forced_fire_each_of_a_thousand_ticks_once(
    worker: QueueWorker, database_url: str, tables: QueueDatabase
) -> None:
    tables.rows("""
        insert into schedule (name, cron, topic, next_at)
        select concat('s', n), '* * * * *', 'tick', now() - make_interval(secs => n) from generate_series(1, 100) n
    """)
    fired = 0
    async with queue_worker(database_url) as other:
        for _ in range(10):
            fired += sum(await asyncio.gather(worker.scheduler.tick(), other.scheduler.tick()))
            tables.rows("update schedule set next_at = next_at - interval '1 hour' - random() * interval '1 s'")

    assert fired == 1000
    assert tables.rows("select count(*), max(occurrences) from message") == [(1000, 1)]


async def test_paused_or_unreadable_schedule_does_not_fire_and_holds_up_no_other(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.rows("""
        insert into schedule (name, cron, topic, next_at, paused) values
        ('paused', '0 * * * *', 'paused', now(), true), ('broken', 'often', 'broken', now(), false),
        ('well', '0 * * * *', 'well', now(), false)
    """)
    await worker.scheduler.tick()

    assert tables.rows("select topic from message") == [("well",)]


async def test_unreadable_schedule_is_told_of_once_and_paused(
    worker: QueueWorker, tables: QueueDatabase, capfd: pytest.CaptureFixture[str]
) -> None:
    tables.rows("insert into schedule (name, cron, topic, next_at) values ('broken', 'often', 'broken', now())")
    await worker.scheduler.tick()
    await worker.scheduler.tick()

    assert "".join(capfd.readouterr()).count("schedule.unreadable") == 1
    assert tables.rows("select paused from schedule") == [(True,)]

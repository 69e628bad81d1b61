"""A whole process's part in the queue, with a channel that behaves as told."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import psycopg2
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from notifier_service import queue as queue_module
from notifier_service.deliveries import Deliveries
from notifier_service.metrics import QueueMetrics
from notifier_service.models import Answer, Claimed, Delivered
from service_kit.database import Database, DatabaseUnavailable
from service_kit.encryption import Encryption
from tests.queue_database import QueueDatabase, eventually


class Told:
    """A channel that keeps what it was sent. Those whose number is among `hangs` never end; all wait for `may_end`."""

    name = "told"
    timeout_seconds = 0.1
    concurrency = 4

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.at: list[float] = []
        self.hangs: set[int] = set()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def send(self, claimed: Claimed) -> Answer:
        self.sent.append(claimed.body["n"])
        self.at.append(time.monotonic())
        if claimed.body["n"] in self.hangs:
            await asyncio.Event().wait()
        await self.may_end.wait()
        return Delivered(200)


class Run(Protocol):
    def __call__(
        self, channel: Told, report: Callable[[BaseException], None] = ...
    ) -> AbstractAsyncContextManager[Deliveries]: ...


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    tables = QueueDatabase(database_url)
    tables.rows("""
        with made as (insert into endpoint (channel) values ('told') returning id)
        insert into subscription (endpoint_id, topic) select id, 'news' from made
    """)
    return tables


@pytest.fixture
def run(database_url: str) -> Run:
    @asynccontextmanager
    async def run(
        channel: Told, report: Callable[[BaseException], None] = lambda _error: None
    ) -> AsyncIterator[Deliveries]:
        database = Database(SecretStr(database_url), "test")
        await database.open()
        encryption = Encryption(SecretStr("k" * 32), "endpoints")
        metrics = QueueMetrics(CollectorRegistry())
        deliveries = Deliveries(database, [channel], encryption, metrics, report)
        async with deliveries.running():
            yield deliveries
        await database.close()

    return run


def enqueue(tables: QueueDatabase, count: int) -> None:
    tables.rows(
        "select enqueue_notification('news', jsonb_build_object('n', n)) from generate_series(1, %s) n", (count,)
    )


async def test_everything_is_delivered_once(run: Run, tables: QueueDatabase) -> None:
    channel = Told()
    enqueue(tables, 3000)
    async with run(channel):
        await eventually(lambda: len(tables.outcomes()) == 3000, 20)

    assert sorted(channel.sent) == list(range(1, 3001))
    assert set(tables.outcomes()) == {"delivered"}


async def test_two_processes_share_without_a_duplicate(run: Run, tables: QueueDatabase) -> None:
    first, second = Told(), Told()
    async with run(first), run(second):
        for _ in range(20):
            enqueue(tables, 100)
        await eventually(lambda: len(tables.outcomes()) == 2000, 20)

    assert len(first.sent) + len(second.sent) == 2000


async def test_send_that_does_not_end_is_cut_short_and_holds_up_nobody(run: Run, tables: QueueDatabase) -> None:
    channel = Told()
    channel.hangs = {3}
    enqueue(tables, 10)
    async with run(channel):
        await eventually(lambda: len(tables.outcomes()) == 10)

    assert sorted(tables.outcomes()) == ["delivered"] * 9 + ["failed"]
    assert tables.rows("select last_error from delivery") == [("no answer within 0.1 s",)]


async def test_database_that_a_channel_misses_counts_neither_as_a_failure_nor_as_a_fault(
    run: Run, tables: QueueDatabase
) -> None:
    class Asking(Told):
        async def send(self, claimed: Claimed) -> Answer:
            if claimed.body["n"] not in self.sent:
                self.sent.append(claimed.body["n"])
                raise DatabaseUnavailable("The database cannot be reached.")
            return Delivered(200)

    reported: list[BaseException] = []
    enqueue(tables, 1)
    async with run(Asking(), reported.append):
        await eventually(lambda: tables.outcomes() == ["limited"])
        assert tables.rows("select failures from delivery") == [(0,)]
        tables.hurry()
        await eventually(lambda: tables.outcomes() == ["limited", "delivered"])
    assert reported == []
    assert tables.rows("select failures from endpoint where channel = 'told'") == [(0,)]


async def test_end_hands_back_what_was_not_begun_and_finishes_what_was(run: Run, tables: QueueDatabase) -> None:
    channel = Told()
    channel.timeout_seconds = 30
    channel.may_end.clear()
    enqueue(tables, 20)
    async with run(channel):
        await eventually(lambda: tables.rows("select 1 from delivery where state = 'running' offset 7"))
        await eventually(lambda: len(channel.sent) == 4)
        asyncio.get_running_loop().call_later(0.3, channel.may_end.set)

    assert len(channel.sent) == 4
    assert tables.outcomes() == ["delivered"] * 4
    assert tables.rows("select state, max(failures), count(*) from delivery group by state") == [("ready", 0, 16)]
    assert tables.rows("select * from worker") == []


async def test_backends_that_are_cancelled_and_terminated_lose_nothing(run: Run, tables: QueueDatabase) -> None:
    channel = Told()
    async with run(channel):
        for end in ["pg_cancel_backend", "pg_terminate_backend"] * 10:
            enqueue(tables, 50)
            tables.rows(f"""
                select {end}(pid) from pg_stat_activity
                where datname = current_database() and application_name = 'wegit-test'
            """)
            await asyncio.sleep(0)
        await eventually(lambda: tables.rows("select count(distinct message_id) from delivery_record") == [(1000,)], 30)
        await eventually(lambda: tables.rows("select 1 from delivery") == [], 30)

    assert set(tables.outcomes()) <= {"delivered", "lost"}
    assert len(set(channel.sent)) == 50


async def test_statements_that_take_too_long_lose_nothing(run: Run, tables: QueueDatabase, database_url: str) -> None:
    channel = Told()
    async with run(channel):
        enqueue(tables, 10)
        await eventually(lambda: len(tables.outcomes()) == 10)
        blocker = psycopg2.connect(database_url)
        blocker.cursor().execute("lock table delivery in access exclusive mode")
        waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        await eventually(lambda: tables.rows(waiting))
        # As statement_timeout would: the server stops whatever waits.
        for _ in range(3):
            tables.rows(
                f"select pg_cancel_backend(pid) from pg_stat_activity where pid in ({waiting.replace('1', 'pid')})"
            )
            await asyncio.sleep(0.05)
        blocker.close()
        enqueue(tables, 10)
        await eventually(lambda: len(tables.outcomes()) == 20, 15)

    assert len(channel.sent) == 20


async def test_three_processes_send_no_more_than_burst_and_rate_allow(run: Run, tables: QueueDatabase) -> None:
    """Measured where it is received; what one second of lateness lets catch up is the promise's margin."""
    rate, burst, count = 40, 10, 150
    tables.rows("update endpoint set rate_per_second = %s, burst = %s where channel = 'told'", (rate, burst))
    channels = [Told(), Told(), Told()]
    async with run(channels[0]), run(channels[1]), run(channels[2]):
        enqueue(tables, count)
        await eventually(lambda: len(tables.outcomes()) == count, 20)

    at = sorted(moment for channel in channels for moment in channel.at)
    assert len(at) == count
    for first in range(count):
        for last in range(first, count):
            allowed = burst + rate * (at[last] - at[first]) + rate * 1.0
            assert last - first + 1 <= allowed + 1
    # Not slower either: the slots are used.
    assert at[-1] - at[0] >= (count - burst) / rate - 1.0


async def test_what_a_producer_commits_late_is_delivered(run: Run, tables: QueueDatabase, database_url: str) -> None:
    """Its message is older than what others enqueued meanwhile, and what claims have looked at."""
    channel = Told()
    async with run(channel):
        late = psycopg2.connect(database_url)
        late.cursor().execute("select enqueue_notification('news', jsonb_build_object('n', 0))")
        for _ in range(20):
            enqueue(tables, 50)
        await eventually(lambda: len(tables.outcomes()) == 1000, 20)
        assert 0 not in channel.sent
        late.commit()
        late.close()

        assert await eventually(lambda: 0 in channel.sent) < 3
    assert len(channel.sent) == 1001


async def test_what_becomes_due_below_the_floor_of_claims_is_delivered(
    monkeypatch: pytest.MonkeyPatch, run: Run, tables: QueueDatabase
) -> None:
    """As a transaction that makes a delivery and commits it late, or a clock that was put back."""
    monkeypatch.setattr(queue_module, "FLOOR_SECONDS", 0.1)
    channel = Told()
    async with run(channel):
        enqueue(tables, 10)
        await eventually(lambda: len(tables.outcomes()) == 10)
        tables.rows("""
            with made as (insert into message (topic, body) values ('news', '{"n": 0}') returning id)
            insert into delivery (message_id, endpoint_id, channel, run_at)
            select made.id, endpoint.id, channel, now() - interval '1 minute' from made, endpoint where channel = 'told'
        """)

        assert await eventually(lambda: 0 in channel.sent) < queue_module.FULL_LOOK_SECONDS + 2

"""Each await of the queue's statements cut short once: whether they took effect is unknown, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
import structlog

from notifier_service.completion import PLANNER as COMPLETION_PLANNER
from notifier_service.models import Delivered, Unreachable
from notifier_service.own_connection import OwnConnection
from notifier_service.queue import PLANNER as QUEUE_PLANNER
from service_kit import database as database_module
from service_kit.database import StatementTimeout
from tests.fakes.queue_worker import QueueWorker, queue_worker
from tests.queue_database import QueueDatabase, eventually

AT_WORK = """
    select 1 from pg_stat_activity where state = 'active' and backend_type = 'client backend'
    and pid <> pg_backend_pid() and datname = current_database()
"""
MOST_AWAITS = 200


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    tables = QueueDatabase(database_url)
    tables.free_slots()
    return tables


@pytest.fixture
async def worker(database_url: str) -> AsyncIterator[QueueWorker]:
    async with queue_worker(database_url) as worker:
        yield worker


class CutShort(Awaitable[None]):
    """Runs `work`, and cancels it where it waits for the `number`th time. `is_reached`: it has waited so often."""

    def __init__(self, work: Coroutine[Any, Any, Any], number: int) -> None:
        self._work = work
        self._number = number
        self.is_reached = False

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self._work.__await__()
        waits = 0
        try:
            waited_for = next(steps)
            while True:
                waits += 1
                if waits == self._number:
                    self.is_reached = True
                    task = asyncio.current_task()
                    assert task is not None
                    asyncio.get_running_loop().call_soon(task.cancel)
                try:
                    sent = yield waited_for
                except BaseException as error:  # noqa: BLE001 - passed on
                    waited_for = steps.throw(error)
                else:
                    waited_for = steps.send(sent)
        except StopIteration:
            return


async def at_each_await(work: Callable[[], Coroutine[Any, Any, Any]], after: Callable[[], Awaitable[None]]) -> int:
    """Do it again and again, cut short one await later each time, until it ends before; how often that was."""
    for number in range(1, MOST_AWAITS):
        cut = CutShort(work(), number)

        async def run(cut: CutShort = cut) -> None:
            await cut

        task = asyncio.create_task(run())
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
        await after()
        if not cut.is_reached:
            return number - 1
    raise AssertionError("it does not end")


async def test_fan_out_cut_short_at_any_await_makes_each_delivery_once(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    messages = 0

    async def fan_out() -> None:
        await worker.fan_out.fan_out()

    async def look() -> None:
        nonlocal messages
        await eventually(lambda: not tables.rows(AT_WORK))
        await worker.fan_out.fan_out()
        messages += 3
        assert tables.rows("select count(*), count(distinct message_id) from delivery") == [(messages, messages)]
        assert tables.rows("select * from fan_out") == []
        tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 3)")

    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 3)")
    assert await at_each_await(fan_out, look) >= 1


@pytest.mark.parametrize("ends_before", [False, True], ids=["warm", "reconnecting"])
async def test_claim_cut_short_at_any_await_loses_nothing(
    worker: QueueWorker, tables: QueueDatabase, ends_before: bool
) -> None:
    tables.rows("update endpoint set rate_per_second = 1000, burst = 1000")
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 3)")
    await worker.fan_out.fan_out()

    async def claim() -> None:
        if ends_before:
            worker.connection.close()
        await worker.queue.claim(worker.id, 10)

    async def look() -> None:
        """The next renewal gives back what nobody got to know of."""
        await eventually(lambda: not tables.rows(AT_WORK))
        tables.rows("update delivery set lease_until = now() where state = 'running'")
        worker.heartbeat.renew_at_once()
        await worker.heartbeat.beat()
        assert tables.rows("select state, count(*) from delivery group by 1") == [("ready", 3)]
        tables.rows("update delivery set run_at = now(), has_slot = false")
        tables.rows("update endpoint set version = version + 1")

    assert await at_each_await(claim, look) >= 3


async def test_completion_cut_short_at_any_await_is_written_once(worker: QueueWorker, tables: QueueDatabase) -> None:
    ended = 0

    async def claim_and_end() -> None:
        tables.rows("update delivery set state = 'ready', run_at = now() where state = 'ready'")
        tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 2)")
        delivered, failed = (await worker.claim(2)).ready
        worker.add(delivered, Delivered(200))
        worker.add(failed, Unreachable("busy", counts=False))

    async def look() -> None:
        nonlocal ended
        await eventually(lambda: not tables.rows(AT_WORK))
        await worker.completion.flush()
        ended += 1
        assert tables.rows("select outcome, count(*) from delivery_record group by 1 order by 1") == [
            ("delivered", ended),
            ("limited", ended),
        ]
        assert worker.completion.held == {}
        tables.rows("delete from delivery")
        await claim_and_end()

    await claim_and_end()
    assert await at_each_await(worker.completion.flush, look) >= 2


def blocked(tables: QueueDatabase) -> set[int]:
    """The backends that wait for a lock."""
    waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    return {row[0] for row in tables.rows(waiting)}


@pytest.mark.parametrize("what", ["claim", "fan_out", "rescue", "renewal"])
async def test_server_itself_stops_what_takes_too_long(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tables: QueueDatabase, what: str
) -> None:
    monkeypatch.setattr(database_module, "STATEMENT_TIMEOUT_SECONDS", 0.3)
    async with queue_worker(database_url) as worker:
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "claim": lambda: worker.queue.claim(worker.id, 10),
            "fan_out": worker.fan_out.fan_out,
            "rescue": worker.rescue.look_after,
            "renewal": worker.heartbeat.beat,
        }
        worker.heartbeat.renew_at_once()
        with closing(psycopg2.connect(database_url)) as blocker:
            blocker.cursor().execute("lock table delivery in access exclusive mode")
            with pytest.raises(StatementTimeout, match="The database stopped a statement"):
                await steps[what]()
            assert not blocked(tables)


@pytest.mark.parametrize("begin", [QUEUE_PLANNER, COMPLETION_PLANNER])
async def test_what_connections_begin_with_leaves_them_their_time_out(worker: QueueWorker, begin: str) -> None:
    assert await OwnConnection(worker.database, begin).rows("show statement_timeout") == [("5s",)]


@pytest.mark.parametrize("stop", ["statement_timeout", "pg_cancel_backend"])
async def test_statement_stopped_by_the_server_is_tried_again_and_loses_nothing(
    worker: QueueWorker, tables: QueueDatabase, stop: str
) -> None:
    """Postgres stops claim and completion while another connection holds the table."""
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 2)")
    [claimed] = (await worker.claim(1)).ready
    await worker.connection.rows("set statement_timeout = '50 ms'" if stop == "statement_timeout" else "select 1")
    blocker = psycopg2.connect(tables.url)
    blocker.cursor().execute("lock table delivery in access exclusive mode")
    worker.add(claimed, Delivered(200))
    with structlog.testing.capture_logs() as events:
        writing = asyncio.create_task(worker.completion.flush())
        if stop == "statement_timeout":
            await eventually(lambda: events)
    if stop == "pg_cancel_backend":
        stopped: set[int] = set()
        for _ in range(3):
            await eventually(lambda: blocked(tables) - stopped)
            stopped.update(blocked(tables))
            tables.rows("select pg_cancel_backend(pid) from unnest(%s) as pid", (list(stopped),))
    assert [event["event"] for event in events] in ([], ["completion.delayed"])
    assert not writing.done()
    blocker.close()
    async with asyncio.timeout(10):
        await writing

    assert tables.outcomes() == ["delivered"]
    assert len((await worker.claim()).ready) == 1

"""What was held while its endpoint rested or was paused is let go: all of it, at the endpoint's rate, a piece at a time."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from notifier_service.rescue import QUERIES
from notifier_service.steering import Pausable, Steering
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
async def steering(database_url: str) -> AsyncIterator[Steering]:
    database = Database(SecretStr(database_url), "test")
    await database.open()
    yield Steering(database)
    await database.close()


def hold(tables: QueueDatabase, count: int, endpoint: int = 1) -> None:
    """Held deliveries of an endpoint whose rest is just over."""
    tables.rows(
        "insert into delivery (message_id, endpoint_id, channel, state, run_at)"
        " select n, %s, 'slack', 'held', now() - interval '1 s' from generate_series(1, %s) n",
        (endpoint, count),
    )
    tables.rows("update endpoint set blocked_until = now() where id = %s", (endpoint,))


async def test_slots_that_passed_while_held_are_taken_anew(worker: QueueWorker, tables: QueueDatabase) -> None:
    tables.rows("select enqueue_notification('alert', '{}') from generate_series(1, 20)")
    await worker.fan_out.fan_out()
    tables.rows("update endpoint set rate_per_second = 0.1, burst = 1, blocked_until = now()")
    tables.rows("update delivery set state = 'held', has_slot = true, run_at = now() - interval '10 s'")
    await worker.rescue.look_after()

    assert len((await worker.claim(20)).ready) == 1


async def test_slot_that_has_not_come_yet_is_kept(worker: QueueWorker, tables: QueueDatabase) -> None:
    hold(tables, 1)
    tables.rows("update delivery set has_slot = true, run_at = now() + interval '1 h'")
    await worker.rescue.look_after()

    assert tables.rows("select state, has_slot, run_at > now() + '59 min' from delivery") == [("ready", True, True)]


async def test_one_statement_lets_go_a_bounded_number_and_forgets_no_endpoint(
    worker: QueueWorker, tables: QueueDatabase
) -> None:
    tables.rows("insert into endpoint (channel) select 'slack' from generate_series(1, 2)")
    for endpoint in (1, 2, 3):
        hold(tables, 2, endpoint)
    tables.rows("update endpoint set blocked_until = now() - interval '1 minute'")
    released = [
        (await worker.connection.rows(QUERIES["release"].format(limit=2), {"failures_before_rest": 5}))[0][0]
        for _ in range(4)
    ]

    assert released == [2, 2, 2, 0]
    assert tables.rows("select count(*) from delivery where state = 'held'") == [(0,)]


async def test_claim_that_began_before_a_resume_leaves_nothing_held(
    worker: QueueWorker, steering: Steering, tables: QueueDatabase
) -> None:
    tables.rows("update endpoint set paused = true, blocked_until = now() - interval '1 h'")
    await steering.pause(Pausable.ENDPOINT, "1", paused=False)
    await worker.rescue.look_after()
    tables.rows(
        "insert into delivery (message_id, endpoint_id, channel, state) values (1, 1, 'slack', 'held')"
    )  # what such a claim commits
    tables.rows("update endpoint set released_at = '-infinity'")
    await worker.rescue.look_after()

    assert tables.rows("select state from delivery") == [("ready",)]

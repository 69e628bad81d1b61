"""Dead letters that grow in number are told to operators, once."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from notifier_service.dead_letter_watch import LEAST, DeadLetterWatch
from service_kit.alerts import Alert, Alerts
from service_kit.database import Database
from service_kit.metrics import Metrics
from tests.queue_database import QueueDatabase


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(SecretStr(database_url), "test")
    await opened.open()
    yield opened
    await opened.close()


async def told_of(database: Database, tables: QueueDatabase, dead: int, died_at: str, replayed_as: str) -> list[Alert]:
    """What two replicas, each looking twice, tell of so many dead letters on one channel and one on another."""
    tables.rows(
        f"""insert into dead_letter
            (delivery_id, message_id, endpoint_id, channel, attempt, created_at, reason, died_at, replayed_as)
        select n, n, 1, case when n = 0 then 'slack' else 'webhook' end, 12, now(), 'it answered with 500',
            {died_at}, {replayed_as} from generate_series(0, %s) n""",
        (dead,),
    )
    told: list[Alert] = []

    async def deliver(alert: Alert) -> None:
        told.append(alert)

    for _ in range(2):
        alerts = Alerts("notifier-service", deliver, Metrics())
        watch = DeadLetterWatch(database, alerts)
        for _ in range(2):
            await watch.look()
        await alerts.flush()
    return told


async def test_growing_dead_letters_are_told_once_with_a_reason(database: Database, database_url: str) -> None:
    told = await told_of(database, QueueDatabase(database_url), LEAST, "now()", "null")

    assert len({alert.dedup_key for alert in told}) == 1
    assert (told[0].error, told[0].where) == ("DeadLettersGrowing", "webhook")
    assert told[0].message.startswith(f"{LEAST} deliveries were given up within an hour")
    assert "it answered with 500" in told[0].message


@pytest.mark.parametrize(
    ("dead", "died_at", "replayed_as"),
    [
        (LEAST - 1, "now()", "null"),
        (LEAST, "now() - interval '2 hours'", "null"),
        (LEAST, "now()", "n"),
    ],
)
async def test_few_or_old_or_replayed_ones_are_not_told(
    database: Database, database_url: str, dead: int, died_at: str, replayed_as: str
) -> None:
    assert await told_of(database, QueueDatabase(database_url), dead, died_at, replayed_as) == []

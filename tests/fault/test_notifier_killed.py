"""The notifier as a process: killed, stopped, and with Postgres going away under it; nothing is lost, nothing leaks."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.slack import BROKEN, HANGS, SECRET_PATH, FakeSlack, fake_slack
from tests.queue_database import QueueDatabase, eventually
from tests.throwaway_postgres import ThrowawayPostgres

TOKEN = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with fake_slack() as slack:
        yield slack


@pytest.fixture
def durable_postgres(own_postgres: ThrowawayPostgres) -> ThrowawayPostgres:
    """What was committed survives a kill, as in production: the throwaway ones trade that for speed."""
    QueueDatabase(own_postgres.url).rows("""
        do $$ begin execute format('alter database %I set synchronous_commit = on', current_database()); end $$
    """)
    return own_postgres


class Notifier:
    """One notifier process; its log goes to a file."""

    def __init__(self, database_url: str, slack_url: str, port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            "SECRET_KEY": "a secret key that is long enough to be one",
            "SLACK_WEBHOOK_URL": slack_url,
            "PORT": str(port),
        }
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "notifier_service"], env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    async def ready(self) -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{self.url}/health/ready") as answer:
                    return answer.status == 200
            except aiohttp.ClientConnectionError:
                return False

    async def becomes(self, ready: bool, seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while await self.ready() is not ready:
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 15)


Start = Callable[[str], Notifier]


@pytest.fixture
def start(slack: FakeSlack, unused_tcp_port_factory: Any, tmp_path: Path) -> Iterator[Start]:
    started: list[Notifier] = []

    def start(database_url: str) -> Notifier:
        log = tmp_path / f"notifier-{len(started)}.log"
        started.append(Notifier(database_url, slack.url, unused_tcp_port_factory(), log))
        return started[-1]

    yield start
    for notifier in started:
        notifier.kill()


async def test_what_a_killed_notifier_was_sending_is_sent_by_the_next(
    database_url: str, slack: FakeSlack, start: Start
) -> None:
    tables = QueueDatabase(database_url)
    slack.will_answer(HANGS)
    first = start(database_url)
    await first.becomes(ready=True)
    tables.enqueue(1)
    await eventually(lambda: slack.received)
    first.kill()
    start(database_url)

    assert await eventually(lambda: slack.taken, 15) < 15
    await eventually(lambda: tables.outcomes() == ["lost", "delivered"])
    assert [one.status for one in slack.received] == [None, 200]
    assert tables.rows("select * from delivery") == []


async def test_stopped_notifier_leaves_its_rows_to_others_at_once(
    database_url: str, slack: FakeSlack, start: Start
) -> None:
    tables = QueueDatabase(database_url)
    tables.free_slots()
    notifier = start(database_url)
    await notifier.becomes(ready=True)
    for number in range(50):
        tables.enqueue_release(number)
    await eventually(lambda: slack.received)
    assert await notifier.stop() == 0

    assert tables.rows("select count(*) from delivery where state = 'running'") == [(0,)]
    start(database_url)
    await eventually(lambda: len(tables.outcomes()) == 50)
    assert sorted(slack.taken) == sorted(set(slack.taken))
    assert len(slack.taken) == 50


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_delivering_again_when_postgres_is_back(
    durable_postgres: ThrowawayPostgres, slack: FakeSlack, start: Start, end: str
) -> None:
    tables = QueueDatabase(durable_postgres.url)
    notifier = start(durable_postgres.url)
    await notifier.becomes(ready=True)
    tables.enqueue(1)
    await eventually(lambda: slack.taken)
    await asyncio.to_thread(getattr(durable_postgres, end))
    await notifier.becomes(ready=False)
    assert notifier.process.poll() is None
    await asyncio.to_thread(durable_postgres.start)
    tables.enqueue(2)

    assert await eventually(lambda: len(slack.taken) == 2) < 5
    await notifier.becomes(ready=True)
    await eventually(lambda: tables.outcomes() == ["delivered", "delivered"])


async def test_what_was_sent_as_postgres_went_away_is_not_sent_again(
    durable_postgres: ThrowawayPostgres, slack: FakeSlack, start: Start
) -> None:
    tables = QueueDatabase(durable_postgres.url)
    notifier = start(durable_postgres.url)
    await notifier.becomes(ready=True)
    slack.will_answer_when_told()
    tables.enqueue(1)
    await eventually(lambda: slack.received)
    await asyncio.to_thread(durable_postgres.kill)
    slack.tell()
    await asyncio.to_thread(durable_postgres.start)

    await eventually(lambda: tables.outcomes() == ["delivered"])
    assert len(slack.received) == 1


async def test_notifier_that_starts_before_postgres_delivers_once_it_is_there(
    durable_postgres: ThrowawayPostgres, slack: FakeSlack, start: Start
) -> None:
    tables = QueueDatabase(durable_postgres.url)
    tables.enqueue(1)
    await asyncio.to_thread(durable_postgres.stop)
    notifier = start(durable_postgres.url)
    await eventually(lambda: b"service.started" in notifier.log.read_bytes(), 10)
    assert not await notifier.ready()
    await asyncio.to_thread(durable_postgres.start)

    await eventually(lambda: slack.taken)


async def test_neither_webhook_nor_tokens_reach_logs_and_tables(
    database_url: str, slack: FakeSlack, start: Start
) -> None:
    tables = QueueDatabase(database_url)
    notifier = start(database_url)
    await notifier.becomes(ready=True)
    leak = f"GET https://api.github.com/user?access_token={TOKEN} Authorization: Bearer {TOKEN}"
    alert = {"service": "s", "error": "E", "where": leak, "message": leak, "traceback": leak}
    slack.will_answer(BROKEN, HANGS)
    async with aiohttp.ClientSession() as session:
        for minute in (1, 2, 3):
            body = {**alert, "minute": f"2026-11-23T10:0{minute}Z"}
            async with session.post(f"{notifier.url}/internal/alerts", json=body) as answer:
                assert answer.status == 202
        async with session.post(f"{notifier.url}/internal/alerts?token={TOKEN}", data=leak) as answer:
            assert answer.status == 400
    await eventually(lambda: tables.outcomes().count("failed") >= 2 and "delivered" in tables.outcomes(), 10)
    assert await notifier.stop() == 0

    log = notifier.log.read_text()
    stored = str([tables.rows(f"select * from {name}") for name in ("message", "delivery", "delivery_record")])
    secrets = [TOKEN, *SECRET_PATH.strip("/").split("/")[1:]]
    assert '"upstream.answered"' in log, "outgoing calls are logged"
    assert len(stored) > 500
    assert [secret for secret in secrets if secret in log] == []
    assert [secret for secret in secrets if secret in stored] == []

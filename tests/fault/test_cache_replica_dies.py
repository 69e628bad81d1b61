"""Processes of repo-service that are killed, stopped or told to end while they fetch: another one answers in time."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from types import TracebackType

import aiohttp
import psycopg2
import pytest

from github_client.lifetimes import LIFETIMES
from github_client.shared_cache import LEASE_SECONDS
from local.stack import free_ports
from tests.fakes.changing_github import ChangingGitHub
from tests.fakes.github_objects import repository

ROOT = Path(__file__).parents[2]
PATH = "/repos/made-up/sample"
SLACK_SECONDS = 2.0


class ReplicaProcess:
    """A repo-service of its own, until the block ends."""

    def __init__(self, github_url: str, database_url: str, log: Path) -> None:
        [port] = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "VIRTUAL_ENV"}}
        settings = {"GITHUB_API_URL": github_url, "GITHUB_WEB_URL": "http://127.0.0.1:1", "DATABASE_URL": database_url}
        environment = {**kept, **settings, "SECRET_KEY": "k" * 32, "PORT": str(port)}
        self.log = log
        with log.open("wb") as output:
            command = [sys.executable, "-m", "repo_service"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)

    async def __aenter__(self) -> "ReplicaProcess":
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while True:
                assert self.process.poll() is None, self.log.read_text()
                try:
                    async with session.get(f"{self.url}/health/live"):
                        return self
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    async def stars(self) -> int:
        """What it answers. Raises what aiohttp raises when it does not, AssertionError for an error's status."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/v1{PATH.replace('repos', 'repositories')}") as response,
        ):
            body = await response.text()
            assert response.status == 200, body
            count: int = json.loads(body)["data"]["stargazers_count"]
            return count


@pytest.fixture
async def github() -> AsyncIterator[ChangingGitHub]:
    async with ChangingGitHub() as started:
        started.put(PATH, repository())
        yield started


@pytest.fixture
async def replicas(github: ChangingGitHub, database_url: str, tmp_path: Path) -> AsyncIterator[list[ReplicaProcess]]:
    async with AsyncExitStack() as stack:
        started = [ReplicaProcess(github.url, database_url, tmp_path / f"{number}.log") for number in range(2)]
        yield [await stack.enter_async_context(one) for one in started]


async def asked_for(github: ChangingGitHub, times: int) -> None:
    async with asyncio.timeout(20):
        while github.asked.count(PATH) < times:
            await asyncio.sleep(0.005)


def in_table(database_url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_when_the_one_that_asks_is_killed_or_stopped_another_one_answers(
    github: ChangingGitHub, replicas: list[ReplicaProcess], number: signal.Signals
) -> None:
    first, second = replicas
    github.hold()
    asking = asyncio.create_task(first.stars())
    await asked_for(github, 1)
    began = time.monotonic()
    waiting = asyncio.create_task(second.stars())
    first.process.send_signal(number)
    await asked_for(github, 2)
    github.let_go()
    assert await waiting == 1
    assert LEASE_SECONDS - 1 < time.monotonic() - began < LEASE_SECONDS + SLACK_SECONDS
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_one_that_was_stopped_does_not_put_its_old_answer_over_a_newer_one(
    github: ChangingGitHub, replicas: list[ReplicaProcess], database_url: str
) -> None:
    first, second = replicas
    github.hold()
    asking = asyncio.create_task(first.stars())
    await asked_for(github, 1)
    first.process.send_signal(signal.SIGSTOP)
    github.let_go()  # the answer lies in the socket of the stopped one
    async with asyncio.timeout(10):
        while github.statuses[200] < 1:
            await asyncio.sleep(0.005)
    github.put(PATH, repository(stargazers_count=2))
    assert await second.stars() == 2
    newest = in_table(database_url, "select etag, confirmed_at from github_answer where status = 200")
    assert len(newest) == 1
    first.process.send_signal(signal.SIGCONT)
    assert await asking == 1
    async with asyncio.timeout(5):
        while "request.answered" not in first.log.read_text():
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # time in which it could tell Postgres
    assert in_table(database_url, "select etag, confirmed_at from github_answer where status = 200") == newest


async def test_one_that_is_told_to_end_answers_what_it_was_asked_and_leaves_no_lease(
    github: ChangingGitHub, replicas: list[ReplicaProcess], database_url: str
) -> None:
    first, second = replicas
    github.hold()
    asking = [asyncio.create_task(first.stars()) for _ in range(50)]
    await asked_for(github, 1)
    await asyncio.sleep(0.2)  # the others are on their way
    first.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.2)
    assert first.process.poll() is None, "it has not ended before it has answered"
    github.let_go()
    assert await asyncio.gather(*asking) == [1] * 50
    assert await asyncio.to_thread(first.process.wait, 10) == 0, first.log.read_text()
    began = time.monotonic()
    assert await second.stars() == 1
    assert time.monotonic() - began < SLACK_SECONDS
    assert github.asked.count(PATH) == 1


async def test_one_that_ends_while_it_renews_behind_gives_its_lease_back(
    github: ChangingGitHub, replicas: list[ReplicaProcess], database_url: str
) -> None:
    first, second = replicas
    assert await second.stars() == 1
    age_seconds = LIFETIMES["repository"].fresh_seconds + 10
    async with asyncio.timeout(5):
        while not in_table(database_url, "select key from github_answer where status = 200"):
            await asyncio.sleep(0.01)
    in_table(database_url, f"update github_answer set confirmed_at = confirmed_at - interval '{age_seconds} s'")
    github.hold()
    assert await first.stars() == 1, "the stale copy of the other"
    await asked_for(github, 2)
    first.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.process.wait, 10) == 0, first.log.read_text()
    assert in_table(database_url, "select key from github_answer where leased_until > clock_timestamp()") == []

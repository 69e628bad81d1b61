"""Postgres stopped, killed, hanging and refusing while answers are asked for: none fails, and its copies come back."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from typing import Any

import psycopg2
import pytest

from github_client.cached_github import AWAY_SECONDS, CachedGitHub
from github_client.lifetimes import LIFETIMES
from github_client.rest import fetch_repository
from github_client.shared_cache import LEASE_SECONDS
from service_kit.errors import NotFound
from tests.fakes.changing_github import ChangingGitHub
from tests.fakes.clock import SimulatedClock
from tests.fakes.github_objects import repository
from tests.fakes.replica import replica
from tests.fakes.waiting import until
from tests.throwaway_postgres import ThrowawayPostgres

NAMES = [f"sample-{number}" for number in range(60)]
OLD_SECONDS = sum(LIFETIMES["repository"]) + 1
SLACK_SECONDS = 2.0
"""What a busy machine may take."""


@pytest.fixture
async def github() -> AsyncIterator[ChangingGitHub]:
    async with ChangingGitHub() as started:
        for name in NAMES:
            started.put(f"/repos/made-up/{name}", repository(name=name))
        yield started


async def fetch(cached: CachedGitHub, name: str) -> str:
    return (await fetch_repository(cached, "made-up", name, None)).value.name


async def test_postgres_comes_and_goes_under_load_and_no_answer_fails(
    github: ChangingGitHub, own_postgres: ThrowawayPostgres
) -> None:
    clock, chance = SimulatedClock(), random.Random(7)
    seconds_taken: list[float] = []
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(replica(github.url, own_postgres.url, clock)) for _ in range(2)]

        async def ask_on() -> None:
            while True:
                cached, name = chance.choice(replicas), chance.choice(NAMES)
                began = time.monotonic()
                assert await fetch(cached, name) == name
                seconds_taken.append(time.monotonic() - began)
                clock.advance(chance.choice([0, 0, 20, 400]))
                await asyncio.sleep(0.001)

        async def some_more(count: int) -> None:
            enough = len(seconds_taken) + count
            await until(lambda: len(seconds_taken) >= enough or any(one.done() for one in asking), 60)

        asking = [asyncio.create_task(ask_on()) for _ in range(8)]
        await some_more(200)
        for end in (own_postgres.stop, own_postgres.kill):
            await asyncio.to_thread(end)
            await some_more(300)
            await asyncio.to_thread(own_postgres.start)
            await some_more(300)
        for task in asking:
            task.cancel()
        assert {type(one) for one in await asyncio.gather(*asking, return_exceptions=True)} == {asyncio.CancelledError}
        assert max(seconds_taken) < 5

        clock.advance(OLD_SECONDS)
        for name in NAMES[:5]:
            await fetch(replicas[0], name)
            await until(lambda: not any(one._tasks for one in replicas))  # the other one renews, too
            asked = len(github.asked)
            newcomer = await stack.enter_async_context(replica(github.url, own_postgres.url, clock))
            assert await fetch(newcomer, name) == name
            assert len(github.asked) == asked, "the copy in Postgres was enough"


async def test_what_a_crash_took_is_there_again_with_the_next_confirmation(
    github: ChangingGitHub, own_postgres: ThrowawayPostgres
) -> None:
    clock = SimulatedClock()
    async with (
        replica(github.url, own_postgres.url, clock) as first,
        replica(github.url, own_postgres.url, clock) as second,
    ):
        await fetch(first, NAMES[0])
        await until(lambda: not first._tasks)
        await asyncio.to_thread(own_postgres.kill)
        await asyncio.to_thread(own_postgres.start)
        assert rows(own_postgres.url) == []
        clock.advance(OLD_SECONDS)
        await fetch(first, NAMES[0])
        await until(lambda: not first._tasks)
        assert github.statuses == {200: 1, 304: 1}
        began = time.monotonic()
        await fetch(second, NAMES[0])
        assert github.statuses == {200: 1, 304: 1}
        assert time.monotonic() - began < SLACK_SECONDS


@pytest.mark.parametrize(
    "statement",
    [
        "do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$",
        "drop table github_answer",
        "alter table github_answer drop column etag",
    ],
    ids=["read-only", "not migrated", "migrated further"],
)
async def test_a_postgres_that_refuses_is_as_none(github: ChangingGitHub, database_url: str, statement: str) -> None:
    clock = SimulatedClock()
    if "nosuperuser" in statement:
        pytest.skip("the role of the tests is everybody's")
    async with replica(github.url, database_url, clock) as cached:
        await fetch(cached, NAMES[0])
        await until(lambda: not cached._tasks)
        run(database_url, statement)
        run(
            database_url, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'wegit-test'"
        )
        assert await fetch(cached, NAMES[1]) == NAMES[1]
        with pytest.raises(NotFound):
            await fetch(cached, "none")
        clock.advance(OLD_SECONDS)
        assert await fetch(cached, NAMES[0]) == NAMES[0]


async def test_a_postgres_that_hangs_is_not_waited_for_twice(github: ChangingGitHub, database_url: str) -> None:
    clock = SimulatedClock()
    async with replica(github.url, database_url, clock) as cached:
        with closing(psycopg2.connect(database_url)) as connection:
            connection.cursor().execute("lock table github_answer")
            began = time.monotonic()
            assert await asyncio.gather(*(fetch(cached, name) for name in NAMES)) == NAMES
            assert time.monotonic() - began < 3.5
            began = time.monotonic()
            github.put("/repos/made-up/another", repository(name="another"))
            assert await fetch(cached, "another") == "another"
            assert time.monotonic() - began < SLACK_SECONDS / 2
            assert len(github.asked) == len(NAMES) + 1
        clock.advance(max(OLD_SECONDS, AWAY_SECONDS))
        assert await fetch(cached, NAMES[0]) == NAMES[0]
        await until(lambda: not cached._tasks)
        assert len(rows(database_url)) == 1


async def test_who_leaves_in_the_middle_of_anything_leaves_nothing_behind(
    github: ChangingGitHub, database_url: str
) -> None:
    """Callers leave, and whole replicas end, at any moment."""
    clock, chance = SimulatedClock(), random.Random(7)
    for _ in range(12):
        async with replica(github.url, database_url, clock) as cached:
            asking = [asyncio.create_task(fetch(cached, name)) for name in NAMES[:20]]
            for task in asking:
                asyncio.get_running_loop().call_later(chance.uniform(0, 0.05), task.cancel)
            await asyncio.sleep(chance.uniform(0, 0.05))
        await asyncio.gather(*asking, return_exceptions=True)
        clock.advance(OLD_SECONDS)
    mine = "from pg_stat_activity where application_name = 'wegit-test'"
    await until(lambda: run(database_url, f"select pid {mine}") == [])
    [(longest_lease_seconds,)] = run(
        database_url, "select extract(epoch from max(leased_until) - clock_timestamp()) from github_answer"
    )
    assert longest_lease_seconds <= LEASE_SECONDS
    async with replica(github.url, database_url, clock) as cached:
        began = time.monotonic()
        assert await asyncio.gather(*(fetch(cached, name) for name in NAMES)) == NAMES
        assert time.monotonic() - began < LEASE_SECONDS + SLACK_SECONDS
        await until(lambda: not cached._tasks)
        assert run(database_url, f"select pid {mine} and state <> 'idle'") == []
        assert run(database_url, "select key from github_answer where leased_until > clock_timestamp()") == []


def rows(url: str) -> list[tuple[Any, ...]]:
    return run(url, "select key, status from github_answer")


def run(url: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []

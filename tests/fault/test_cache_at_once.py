"""Very many at once: how many fetches there may be, what is left of them, and that none starves another."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing

import psycopg2
import pytest

from github_client import cached_github, client
from github_client.cached_github import CachedGitHub
from github_client.credentials import Credential
from github_client.lifetimes import LIFETIMES
from github_client.rest import fetch_repository
from service_kit.database import POOL_LIMIT
from service_kit.errors import Forbidden, Unavailable, UpstreamTimeout
from service_kit.patience import begin_waiting
from tests.fakes.changing_github import ChangingGitHub
from tests.fakes.clock import SimulatedClock
from tests.fakes.github_objects import repository
from tests.fakes.replica import replica
from tests.fakes.waiting import until

NAMES = [f"sample-{number}" for number in range(1000)]


@pytest.fixture
async def github() -> AsyncIterator[ChangingGitHub]:
    async with ChangingGitHub() as started:
        for name in NAMES:
            started.put(f"/repos/made-up/{name}", repository(name=name))
        yield started


async def fetch(cached: CachedGitHub, name: str) -> str:
    return (await fetch_repository(cached, "made-up", name, None)).value.name


async def test_a_thousand_new_ones_at_once_are_all_answered(
    github: ChangingGitHub, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_github, "FETCH_LIMIT", 1000)
    # Not anonymous: no more than 60 may then be under way before the first answer, and how many are is chance.
    operator = Credential("operator", "operator", "ghp_of_the_operator")
    async with replica(github.url, database_url, SimulatedClock(), operator) as cached:
        asking = asyncio.gather(*(fetch(cached, name) for name in NAMES))
        most_connections = 0
        with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not asking.done():
                cursor.execute("select count(*) from pg_stat_activity where application_name = 'wegit-test'")
                most_connections = max(most_connections, cursor.fetchone()[0])
                await asyncio.sleep(0.02)
        assert await asking == NAMES
        assert 0 < most_connections <= POOL_LIMIT
        assert sorted(github.asked) == sorted(f"/repos/made-up/{name}" for name in NAMES)


async def test_no_more_are_fetched_at_once_than_may_be(
    github: ChangingGitHub, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_github, "FETCH_LIMIT", 20)
    async with replica(github.url, database_url, SimulatedClock()) as cached:
        github.hold()
        asking = [asyncio.create_task(fetch(cached, name)) for name in NAMES[:50]]
        again = [asyncio.create_task(fetch(cached, name)) for name in NAMES[:20]]
        await until(lambda: sum(task.done() for task in asking) == 30 and len(github.asked) == 20)
        github.let_go()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert outcomes[:20] == NAMES[:20]
        assert {(type(one), getattr(one, "retry_after_seconds", None)) for one in outcomes[20:]} == {(Unavailable, 1)}
        assert await asyncio.gather(*again) == NAMES[:20]
        assert await asyncio.gather(*(fetch(cached, name) for name in NAMES[20:40])) == NAMES[20:40]


async def test_of_those_renewed_behind_there_are_fewer_and_people_still_get_through(
    github: ChangingGitHub, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_github, "BEHIND_LIMIT", 5)
    clock = SimulatedClock()
    async with replica(github.url, database_url, clock) as cached:
        await asyncio.gather(*(fetch(cached, name) for name in NAMES[:20]))
        clock.advance(LIFETIMES["repository"].fresh_seconds + 1)
        github.hold()
        for _ in range(3):
            async with asyncio.timeout(1):
                assert await asyncio.gather(*(fetch(cached, name) for name in NAMES[:20])) == NAMES[:20]
        await until(lambda: len(github.asked) == 25)
        new = asyncio.create_task(fetch(cached, NAMES[20]))
        await until(lambda: len(github.asked) == 26)
        github.let_go()
        assert await new == NAMES[20]
        for name in NAMES[:20]:
            while (await fetch_repository(cached, "made-up", name, None)).freshness.is_stale:
                await asyncio.sleep(0.002)
        assert len(github.asked) == 41, "each once more"


async def test_nothing_runs_on_when_the_service_has_ended(github: ChangingGitHub, database_url: str) -> None:
    github.hold()
    before = asyncio.all_tasks()
    async with replica(github.url, database_url, SimulatedClock()) as cached:
        asking = [asyncio.create_task(fetch(cached, name)) for name in NAMES[:20]]
        await until(lambda: len(github.asked) == 20)
        asking[0].cancel()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(one) for one in outcomes} == {asyncio.CancelledError}
    github.let_go()
    own = {"_fly", "fetch", "release"}
    await until(lambda: not [one for one in asyncio.all_tasks() - before if own & {one.get_coro().__name__}])  # type: ignore[union-attr]
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("select key from github_answer where leased_until > clock_timestamp()")
        assert cursor.fetchall() == [], "the leases were given back"


async def test_who_waits_behind_slow_replicas_is_answered_before_the_gateway_gives_up(
    github: ChangingGitHub, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease runs out while GitHub hangs, another replica takes it and waits as long, and so on: times a tenth."""
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 1.2)
    monkeypatch.setattr("github_client.shared_cache.LEASE_SECONDS", 0.5)
    monkeypatch.setattr(cached_github, "LEASE_PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(cached_github, "ANSWER_SECONDS", 1.3)
    clock = SimulatedClock()

    async def seconds_until_told(cached: CachedGitHub) -> float:
        began = time.monotonic()
        with pytest.raises(UpstreamTimeout):
            await fetch(cached, NAMES[0])
        return time.monotonic() - began

    github.hold()
    async with (
        replica(github.url, database_url, clock) as first,
        replica(github.url, database_url, clock) as second,
        replica(github.url, database_url, clock) as third,
    ):
        taken = await asyncio.gather(*(seconds_until_told(cached) for cached in (first, second, third)))
        assert len(github.asked) > 1
        assert max(taken) < 1.5


async def test_who_waits_less_is_told_sooner_and_the_fetch_goes_on_for_others(
    github: ChangingGitHub, database_url: str
) -> None:
    """The gateway has spent most of its time on a replica that hung."""
    async with replica(github.url, database_url, SimulatedClock()) as cached:
        github.hold()
        begin_waiting("1200")
        with pytest.raises(UpstreamTimeout):
            await fetch(cached, NAMES[0])
        begin_waiting(None)
        github.let_go()
        assert await fetch(cached, NAMES[0]) == NAMES[0]
        assert len(github.asked) == 1


async def test_what_github_refuses_to_show_is_not_asked_for_with_each_request(
    github: ChangingGitHub, database_url: str
) -> None:
    clock = SimulatedClock()
    async with replica(github.url, database_url, clock) as cached:
        await fetch(cached, NAMES[0])
        github.status = 403
        clock.advance(LIFETIMES["repository"].fresh_seconds + 1)
        for _ in range(20):
            assert await fetch(cached, NAMES[0]) == NAMES[0]
            await until(lambda: not cached._tasks)
        assert github.statuses[403] == 1
        with pytest.raises(Forbidden):
            await fetch(cached, NAMES[1])


async def test_what_github_refuses_to_show_a_caller_is_not_shown_from_a_copy(
    github: ChangingGitHub, database_url: str
) -> None:
    clock, caller = SimulatedClock(), Credential("caller", "caller", "ghp_of_the_caller")
    async with replica(github.url, database_url, clock) as cached:
        await fetch_repository(cached, "made-up", NAMES[0], caller)
        github.status = 403
        clock.advance(LIFETIMES["repository"].fresh_seconds + 1)
        await fetch_repository(cached, "made-up", NAMES[0], caller)  # and is renewed behind
        await until(lambda: not cached._tasks)
        with pytest.raises(Forbidden):
            await fetch_repository(cached, "made-up", NAMES[0], caller)

"""A replica whose system clock is hours wrong: copies live as long as ever, and others see no trace of it.

Time is real here but for the wrong clocks: Postgres' own decides, and what lies in the past is put there in the table.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from github_client.clock import Clock
from github_client.lifetimes import LIFETIMES
from github_client.rest import fetch_repository
from github_client.shared_cache import SharedCache
from tests.fakes.changing_github import ChangingGitHub
from tests.fakes.github_objects import repository
from tests.fakes.replica import replica
from tests.fakes.waiting import until

PATH = "/repos/made-up/sample"
FRESH, REVALIDATE = LIFETIMES["repository"]
HOURS = 5


class WrongClock(Clock):
    """Its wall clock is so many hours ahead, and may be set while it runs; time passes as it does."""

    def __init__(self, hours: float = 0) -> None:
        self.hours = hours

    def utc(self) -> datetime:
        return super().utc() + timedelta(hours=self.hours)


@pytest.fixture
async def github() -> AsyncIterator[ChangingGitHub]:
    async with ChangingGitHub() as started:
        started.put(PATH, repository())
        yield started


def put_back(database_url: str, seconds: float) -> None:
    """Let the copies be older."""
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("update github_answer set confirmed_at = confirmed_at - make_interval(secs => %s)", (seconds,))


def is_near(moment: datetime | None, other: datetime) -> bool:
    return moment is not None and abs(moment - other) < timedelta(seconds=5)


@pytest.mark.parametrize("hours", [-HOURS, HOURS])
async def test_a_copy_of_a_replica_with_a_wrong_clock_is_right_for_the_others(
    github: ChangingGitHub, database_url: str, hours: int
) -> None:
    async with (
        replica(github.url, database_url, WrongClock(hours)) as wrong,
        replica(github.url, database_url, Clock()) as right,
    ):
        await fetch_repository(wrong, "made-up", "sample", None)
        await until(lambda: not wrong._tasks)
        answer = await fetch_repository(right, "made-up", "sample", None)
        assert github.asked == [PATH]
        assert FRESH - 5 <= answer.freshness.seconds_left <= FRESH
        assert is_near(answer.freshness.as_of, datetime.now(UTC))


@pytest.mark.parametrize("hours", [-HOURS, HOURS])
async def test_a_replica_with_a_wrong_clock_takes_the_others_copies_for_what_they_are(
    github: ChangingGitHub, database_url: str, hours: int
) -> None:
    async with AsyncExitStack() as stack:
        right = await stack.enter_async_context(replica(github.url, database_url, Clock()))
        await fetch_repository(right, "made-up", "sample", None)
        await until(lambda: not right._tasks)
        for age_seconds, is_stale in ((FRESH - 30, False), (FRESH + 30, True)):
            put_back(database_url, age_seconds)
            wrong = await stack.enter_async_context(replica(github.url, database_url, WrongClock(hours)))
            answer = await fetch_repository(wrong, "made-up", "sample", None)
            assert answer.freshness.is_stale == is_stale
            assert abs(answer.freshness.seconds_left - (FRESH - age_seconds)) < 5
            assert is_near(answer.freshness.as_of, datetime.now(UTC) - timedelta(seconds=age_seconds))
            await until(lambda: not wrong._tasks)  # noqa: B023 - it ends before the next turn
            put_back(database_url, -age_seconds if not is_stale else 0)
        assert github.statuses == {200: 1, 304: 1}, "once at first, and once when it was stale"


async def test_a_clock_that_jumps_while_it_runs_makes_no_copy_older_or_younger(
    github: ChangingGitHub, database_url: str
) -> None:
    clock = WrongClock()
    async with replica(github.url, database_url, clock) as cached:
        for hours in (0, HOURS, -HOURS, 24 * 365, 0):
            clock.hours = hours
            answer = await fetch_repository(cached, "made-up", "sample", None)
            assert FRESH - 5 <= answer.freshness.seconds_left <= FRESH
            assert is_near(answer.freshness.as_of, datetime.now(UTC))
        assert github.asked == [PATH]


async def test_two_replicas_hours_apart_ask_no_more_often_than_one(github: ChangingGitHub, database_url: str) -> None:
    async with (
        replica(github.url, database_url, WrongClock(HOURS)) as ahead,
        replica(github.url, database_url, WrongClock(-HOURS)) as behind,
    ):
        for calls in range(1, 6):
            for cached in (ahead, behind):
                await fetch_repository(cached, "made-up", "sample", None)
                await until(lambda: not ahead._tasks and not behind._tasks)
            assert len(github.asked) == calls
            put_back(database_url, FRESH + REVALIDATE + 1)
            for cached in (ahead, behind):
                cached._memory.forget("repository /repos/made-up/sample? application/vnd.github+json")


async def test_the_lease_goes_by_the_database_alone(database_url: str) -> None:
    from pydantic import SecretStr

    from service_kit.database import Database

    database = Database(SecretStr(database_url), "test")
    await database.open()
    ahead, behind = (SharedCache(database, WrongClock(hours)) for hours in (HOURS, -HOURS))
    for first, second in ((ahead, behind), (behind, ahead)):
        assert await first.claim("key", LIFETIMES["repository"]) is not None
        assert await second.claim("key", LIFETIMES["repository"]) is None
        assert (await second.read("key")).is_leased
        await first.release("key")
    await database.close()

"""GitHub's answers from copies: fresh, stale, shared by replicas, one fetch at a time, and never blank."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from github_client.cached_github import CachedGitHub
from github_client.credentials import Credential
from github_client.lifetimes import LIFETIMES, MISSING
from github_client.rest import (
    MARKDOWN,
    fetch_caller,
    fetch_developer,
    fetch_repository,
    fetch_repository_and_readme,
    search_repositories,
)
from github_client.shared_cache import LEASE_SECONDS, SharedCache
from service_kit.errors import NotFound, UpstreamFault
from tests.fakes.changing_github import ChangingGitHub
from tests.fakes.clock import SimulatedClock
from tests.fakes.github_objects import repository
from tests.fakes.replica import replica
from tests.fakes.waiting import until

OPERATOR = Credential("operator", "operator", "ghp_of_the_operator")
CALLER, OTHER = (Credential("caller", "caller", f"ghp_of_{who}") for who in ("the_caller", "another"))
PATH = "/repos/made-up/sample"
FRESH, REVALIDATE = LIFETIMES["repository"]
HOUR = 3600
Replicas = Callable[[], Awaitable[CachedGitHub]]


@pytest.fixture
async def github() -> AsyncIterator[ChangingGitHub]:
    async with ChangingGitHub() as started:
        started.put(PATH, repository())
        yield started


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
async def start(github: ChangingGitHub, database_url: str, clock: SimulatedClock) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:

        async def another() -> CachedGitHub:
            return await stack.enter_async_context(replica(github.url, database_url, clock, OPERATOR))

        yield another


async def stars(cached: CachedGitHub, caller: Credential | None = None) -> int:
    return (await fetch_repository(cached, "made-up", "sample", caller)).value.stargazers_count


async def test_a_fresh_copy_is_answered_without_asking(
    start: Replicas, github: ChangingGitHub, clock: SimulatedClock
) -> None:
    cached = await start()
    first = await fetch_repository(cached, "made-up", "sample", None)
    clock.advance(FRESH - 1)
    second = await fetch_repository(cached, "Made-Up", "SAMPLE", None)
    assert second.body == first.body
    assert second.freshness.as_of == first.freshness.as_of
    assert (second.freshness.is_stale, second.freshness.seconds_left) == (False, 1)
    assert github.asked == [PATH]


async def test_a_stale_copy_is_answered_at_once_and_renewed_behind(
    start: Replicas, github: ChangingGitHub, clock: SimulatedClock
) -> None:
    cached = await start()
    await stars(cached)
    github.put(PATH, repository(stargazers_count=9))
    clock.advance(FRESH + 10)
    github.hold()
    stale = await fetch_repository(cached, "made-up", "sample", None)
    assert (stale.value.stargazers_count, stale.freshness.is_stale, stale.freshness.seconds_left) == (1, True, -10)
    github.let_go()
    await until(lambda: github.statuses[200] == 2)
    while (renewed := await fetch_repository(cached, "made-up", "sample", None)).freshness.is_stale:
        await asyncio.sleep(0.005)
    assert renewed.value.stargazers_count == 9


async def test_an_old_copy_is_revalidated_before_it_is_answered(
    start: Replicas, github: ChangingGitHub, clock: SimulatedClock
) -> None:
    cached = await start()
    await stars(cached)
    clock.advance(FRESH + REVALIDATE + 1)
    answer = await fetch_repository(cached, "made-up", "sample", None)
    assert github.statuses == {200: 1, 304: 1}
    assert not answer.freshness.is_stale
    assert answer.freshness.as_of == clock.utc()
    github.put(PATH, repository(stargazers_count=9))
    clock.advance(FRESH + REVALIDATE + 1)
    assert await stars(cached) == 9


async def test_while_github_fails_the_last_good_copy_is_answered_with_its_age(
    start: Replicas, github: ChangingGitHub, clock: SimulatedClock
) -> None:
    cached = await start()
    fetched_at = clock.utc()
    await stars(cached)
    github.status = 502
    for hours in (1, 5, 24):
        clock.advance(hours * HOUR)
        answer = await fetch_repository(cached, "made-up", "sample", None)
        assert (answer.value.stargazers_count, answer.freshness.is_stale) == (1, True)
        assert answer.freshness.as_of is not None
        assert abs(answer.freshness.as_of - fetched_at) < timedelta(seconds=1)
        assert answer.freshness.seconds_left == FRESH - (clock.utc() - fetched_at).total_seconds()


async def test_a_failing_github_is_not_asked_for_each_request(
    start: Replicas, github: ChangingGitHub, clock: SimulatedClock
) -> None:
    cached = await start()
    await stars(cached)
    github.status = 500
    clock.advance(FRESH + REVALIDATE + 1)
    for _ in range(50):
        await stars(cached)
    assert github.statuses == {200: 1, 500: 1}


async def test_another_replica_finds_the_copy_of_the_first(
    start: Replicas, github: ChangingGitHub, clock: SimulatedClock
) -> None:
    first, second = await start(), await start()
    assert await stars(first) == 1
    clock.advance(10)
    answer = await fetch_repository(second, "made-up", "sample", None)
    assert (answer.value.stargazers_count, answer.freshness.seconds_left) == (1, FRESH - 10)
    assert github.asked == [PATH]


async def test_a_copy_of_another_replica_outlives_github(
    start: Replicas, github: ChangingGitHub, clock: SimulatedClock
) -> None:
    await stars(await start())
    github.status = 503
    clock.advance(24 * HOUR)
    answer = await fetch_repository(await start(), "made-up", "sample", None)
    assert answer.value.stargazers_count == 1
    assert answer.freshness.is_stale


async def test_many_callers_on_many_replicas_make_one_call(start: Replicas, github: ChangingGitHub) -> None:
    replicas = [await start() for _ in range(3)]
    github.hold()
    asking = [asyncio.create_task(stars(cached)) for cached in replicas for _ in range(100)]
    await until(lambda: len(github.asked) == 1)
    await asyncio.sleep(0.1)  # time in which the others could ask, too
    github.let_go()
    assert await asyncio.gather(*asking) == [1] * 300
    assert github.asked == [PATH]


async def test_who_leaves_does_not_end_the_fetch_of_the_others(start: Replicas, github: ChangingGitHub) -> None:
    cached = await start()
    github.hold()
    leaving, staying = (asyncio.create_task(stars(cached)) for _ in range(2))
    await until(lambda: len(github.asked) == 1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert leaving.cancelled()
    github.let_go()
    assert await staying == 1
    assert github.asked == [PATH]


async def test_a_lease_whose_holder_died_is_waited_out(
    start: Replicas, github: ChangingGitHub, database_url: str, clock: SimulatedClock
) -> None:
    from pydantic import SecretStr

    from service_kit.database import Database

    dead = Database(SecretStr(database_url), "dead")
    await dead.open()
    cached = await start()
    key = "repository /repos/made-up/sample? application/vnd.github+json"
    assert await SharedCache(dead, clock).claim(key, LIFETIMES["repository"]) is not None
    await dead.close()
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await stars(cached) == 1
    assert LEASE_SECONDS - 1 < loop.time() - began < LEASE_SECONDS + 1


async def test_a_failure_is_everybodys_and_the_next_caller_asks_again(start: Replicas, github: ChangingGitHub) -> None:
    cached = await start()
    github.status = 500
    github.hold()
    asking = [asyncio.create_task(stars(cached)) for _ in range(5)]
    await until(lambda: len(github.asked) == 1)
    github.let_go()
    failures = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(failure, UpstreamFault) for failure in failures] == [True] * 5
    github.status = None
    assert await stars(cached) == 1
    assert len(github.asked) == 2


async def test_what_is_missing_is_remembered_for_a_minute(
    start: Replicas, github: ChangingGitHub, clock: SimulatedClock
) -> None:
    first, second = await start(), await start()
    for cached in (first, first, second):
        with pytest.raises(NotFound):
            await fetch_developer(cached, "nobody", None)
    assert github.asked == ["/users/nobody"]
    clock.advance(MISSING.fresh_seconds + 1)
    github.put("/users/nobody", developer("nobody"))
    assert (await fetch_developer(first, "nobody", None)).value.login == "nobody"


async def test_what_is_gone_is_not_answered_from_an_old_copy(
    start: Replicas, github: ChangingGitHub, clock: SimulatedClock
) -> None:
    cached = await start()
    await stars(cached)
    github.remove(PATH)
    clock.advance(FRESH + REVALIDATE + 1)
    with pytest.raises(NotFound):
        await stars(cached)


async def test_a_callers_answer_is_kept_for_this_caller_alone(start: Replicas, github: ChangingGitHub) -> None:
    cached = await start()
    github.put(PATH, repository(private=True))
    assert await stars(cached, CALLER) == 1
    assert await stars(cached, CALLER) == 1
    assert len(github.asked) == 1
    await stars(cached, OTHER)
    assert len(github.asked) == 2
    with pytest.raises(NotFound):
        await stars(cached)


async def test_nothing_of_a_caller_reaches_postgres(start: Replicas, github: ChangingGitHub, database_url: str) -> None:
    cached = await start()
    github.put("/user", developer("the-caller"))
    github.put(PATH, repository(private=True))
    await fetch_caller(cached, CALLER)
    await stars(cached, CALLER)
    assert await kept(database_url) == []
    with pytest.raises(NotFound):
        await stars(cached)
    assert [(status, body) for _, status, body in await kept(database_url)] == [(404, None)]


async def test_a_readme_of_a_private_repository_is_not_kept(
    start: Replicas, github: ChangingGitHub, database_url: str
) -> None:
    cached = await start()
    github.put(PATH, repository(private=True))
    github.put(f"{PATH}/readme", b"# secret")
    with pytest.raises(NotFound):
        await fetch_repository_and_readme(cached, "made-up", "sample", MARKDOWN, None)
    async with asyncio.timeout(10):
        while len(rows := [row for row in await kept(database_url) if row[1] is not None]) < 2:
            await asyncio.sleep(0.01)
    assert [(status, body) for _, status, body in rows] == [(404, None)] * 2


async def test_a_changed_shape_of_an_answer_does_not_replace_a_good_copy(
    start: Replicas, github: ChangingGitHub, clock: SimulatedClock
) -> None:
    cached = await start()
    await stars(cached)
    github.put(PATH, b"<html>503 Service Unavailable</html>")
    clock.advance(FRESH + REVALIDATE + 1)
    answer = await fetch_repository(cached, "made-up", "sample", None)
    assert (answer.value.stargazers_count, answer.freshness.is_stale) == (1, True)


async def test_the_same_search_is_one_search_however_it_is_written(
    start: Replicas, github: ChangingGitHub, clock: SimulatedClock
) -> None:
    cached = await start()
    github.put("/search/repositories", {"total_count": 1, "incomplete_results": False, "items": [repository()]})
    for text in ("wechat  Mini", " WeChat mini ", "wechat mini"):
        await search_repositories(cached, {"q": text, "page": 1}, None)
    assert len(github.asked) == 1
    await search_repositories(cached, {"q": "wechat OR mini", "page": 1}, None)
    await search_repositories(cached, {"q": "wechat or mini", "page": 1}, None)
    assert len(github.asked) == 3
    clock.advance(LIFETIMES["search"].fresh_seconds + LIFETIMES["search"].revalidate_seconds + 1)
    await search_repositories(cached, {"q": "wechat mini", "page": 1}, None)
    assert github.statuses == {200: 4}  # without an ETag: a whole answer each time


def developer(login: str) -> dict[str, Any]:
    return {
        "login": login,
        "id": 7,
        "avatar_url": "https://avatars.example/u/7",
        "html_url": f"https://github.com/{login}",
        "type": "User",
        "public_repos": 1,
        "followers": 2,
        "following": 3,
        "created_at": "2024-01-02T03:04:05Z",
    }


async def kept(database_url: str) -> list[tuple[str, int, bytes | None]]:
    from contextlib import closing

    import psycopg2

    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("select key, status, body from github_answer order by key")
        return [(key, status, body and bytes(body)) for key, status, body in cursor.fetchall()]

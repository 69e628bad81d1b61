"""Trending lists of past days, what is new, and a repository's history: both services over a real Postgres."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from types import ModuleType

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pydantic import SecretStr

import developer_service.app
import repo_service.app
from github_client.service import CLOCK
from github_client.trending.page_key import PageKey
from github_client.trending.parser import TrendingDeveloper, TrendingRepository
from github_client.trending.store import TrendingStore
from service_kit.database import Database
from tests.fakes.clock import SimulatedClock
from tests.fakes.upstream import ScriptedUpstream

Client = TestClient[web.Request, web.Application]
DAY = 86_400
Start = Callable[..., Awaitable[Client]]
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIST = "/v1/trending/repositories"
PAGE = PageKey("repositories", "daily")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(START)


@pytest.fixture
async def store(database_url: str, clock: SimulatedClock) -> AsyncIterator[TrendingStore]:
    database = Database(SecretStr(database_url), "test")
    await database.open()
    yield TrendingStore(database, clock)
    await database.close()


@pytest.fixture
async def start(
    database_url: str, clock: SimulatedClock, aiohttp_client: Callable[[web.Application], Awaitable[Client]]
) -> AsyncIterator[Start]:
    async with ScriptedUpstream() as github:

        async def serve(module: ModuleType, url: str = database_url) -> Client:
            settings = module.Settings(
                database_url=url,
                secret_key="k" * 32,
                github_api_url=github.url,
                github_web_url=github.url,
            )
            app = module.make_app(settings)
            app[CLOCK] = clock
            return await aiohttp_client(app)

        yield serve


@pytest.fixture
async def client(start: Start) -> Client:
    return await start(repo_service.app)


async def keep(store: TrendingStore, *items: str, key: PageKey = PAGE) -> None:
    rows = [
        TrendingRepository(
            rank=rank,
            owner=item.split("/")[0],
            name=item.split("/")[1],
            description=None,
            language=None,
            language_color=None,
            stars=100 * rank,
            forks=None,
            period_stars=rank,
            built_by=(),
        )
        for rank, item in enumerate(items, 1)
    ]
    await store.store(key, rows, {}, is_degraded=False, next_fetch_in_seconds=900)


async def names(client: Client, path: str) -> list[str]:
    response = await client.get(path)
    assert response.status == 200, await response.text()
    return [row["name"] for row in (await response.json())["data"]]


async def problem(client: Client, path: str) -> tuple[int, str, str | None]:
    response = await client.get(path)
    answer = await response.json(content_type=None)
    return response.status, answer["code"], answer.get("parameter")


async def test_list_carries_the_history_of_each_row(
    client: Client, store: TrendingStore, clock: SimulatedClock
) -> None:
    await keep(store, "o/a", "o/b")
    clock.advance(DAY)
    await keep(store, "o/b")

    answer = await (await client.get(LIST)).json()
    [row] = answer["data"]
    assert (row["first_seen"], row["streak_days"], row["best_rank"], row["rank_change"], row["is_new"]) == (
        "2026-11-20T12:00:00Z",
        2,
        1,
        1,
        False,
    )
    assert answer["meta"] == {"as_of": "2026-11-21T12:00:00Z", "stale": False}


async def test_new_only_leaves_out_what_was_there_before(
    client: Client, store: TrendingStore, clock: SimulatedClock
) -> None:
    await keep(store, "o/a")
    clock.advance(DAY)
    await keep(store, "o/a", "o/b", "o/c")

    assert await names(client, LIST + "?new_only=true") == ["b", "c"]
    assert await names(client, LIST + "?new_only=false") == ["a", "b", "c"]
    assert await names(client, LIST + "?new_only=true&on=2026-11-20") == ["a"]


async def test_past_day_is_answered_by_its_last_snapshot(
    client: Client, store: TrendingStore, clock: SimulatedClock
) -> None:
    await keep(store, "o/a")
    clock.advance(3600)
    await keep(store, "o/b")
    clock.advance(DAY)
    await keep(store, "o/c")

    response = await client.get(LIST + "?on=2026-11-20")
    answer = await response.json()
    assert [row["name"] for row in answer["data"]] == ["b"]
    assert answer["meta"] == {"as_of": "2026-11-20T13:00:00Z", "stale": False}
    assert "max-age=86400" in response.headers["Cache-Control"]
    assert response.headers["Last-Modified"] == "Fri, 20 Nov 2026 13:00:00 GMT"
    assert await names(client, LIST + "?on=2026-11-21") == ["c"]
    assert "max-age=300" in (await client.get(LIST + "?on=2026-11-21")).headers["Cache-Control"]


async def test_day_without_a_snapshot_is_not_found(client: Client, store: TrendingStore) -> None:
    await keep(store, "o/a")

    assert await problem(client, LIST + "?on=2026-11-19") == (404, "not_found", None)
    assert await problem(client, LIST + "?on=2026-11-20&since=weekly") == (404, "not_found", None)


@pytest.mark.parametrize(
    ("query", "status", "parameter"),
    [
        ("on=2026-11-21", 422, "on"),
        ("on=2026-02-29", 422, "on"),
        ("on=0000-01-01", 422, "on"),
        ("on=20261120", 400, "on"),
        ("on=yesterday", 400, "on"),
        ("on=2026-11-20&on=2026-11-20", 400, "on"),
        ("new_only=1", 422, "new_only"),
    ],
)
async def test_wrong_parameters_are_refused(client: Client, query: str, status: int, parameter: str) -> None:
    answer = await problem(client, f"{LIST}?{query}")

    assert (answer[0], answer[2]) == (status, parameter)


async def test_developers_have_past_days_and_novelty_too(
    start: Start, store: TrendingStore, clock: SimulatedClock
) -> None:
    client = await start(developer_service.app)
    key = PageKey("developers", "daily", "c%23")
    for logins in (["a"], ["b", "a"]):
        rows = [TrendingDeveloper(rank, login, None, None, None) for rank, login in enumerate(logins, 1)]
        await store.store(key, rows, {}, is_degraded=False, next_fetch_in_seconds=900)
        clock.advance(DAY)
    clock.advance(-DAY)

    async def logins_of(query: str) -> list[str]:
        response = await client.get(f"/v1/trending/developers?language=c%23&{query}")
        return [row["login"] for row in (await response.json())["data"]]

    assert await logins_of("") == ["b", "a"]
    assert await logins_of("new_only=true") == ["b"]
    assert await logins_of("on=2026-11-20") == ["a"]


async def test_history_tells_where_a_repository_stood_on_each_day(
    client: Client, store: TrendingStore, clock: SimulatedClock
) -> None:
    await keep(store, "o/b", "Octo/Cat.js")
    clock.advance(DAY)
    await keep(store, "octo/cat.js", "o/b")

    response = await client.get(f"{LIST}/OCTO/cat.JS/history")
    answer = await response.json()
    assert answer == {
        "data": {
            "rank": 1,
            "first_seen": "2026-11-20T12:00:00Z",
            "streak_days": 2,
            "best_rank": 1,
            "rank_change": 1,
            "is_new": False,
            "days": [
                {"day": "2026-11-21", "rank": 1, "best_rank": 1, "stars": 100, "period_stars": 1},
                {"day": "2026-11-20", "rank": 2, "best_rank": 2, "stars": 200, "period_stars": 2},
            ],
        },
        "meta": {"as_of": "2026-11-21T12:00:00Z", "stale": False, "page": 1, "next_page": None},
    }
    assert "max-age=3600" in response.headers["Cache-Control"]


async def test_history_is_of_the_page_that_the_parameters_name(client: Client, store: TrendingStore) -> None:
    await keep(store, "o/a", key=PageKey("repositories", "weekly", "c%23", "zh"))

    path = f"{LIST}/o/a/history?since=weekly&language=c%23&spoken_language_code=zh"
    assert (await client.get(path)).status == 200
    assert await problem(client, f"{LIST}/o/a/history") == (404, "not_found", None)


async def test_long_history_has_pages(client: Client, store: TrendingStore, clock: SimulatedClock) -> None:
    for _ in range(31):
        await keep(store, "o/a")
        clock.advance(DAY)

    first = await client.get(f"{LIST}/o/a/history")
    assert len((await first.json())["data"]["days"]) == 30
    assert first.headers["Link"] == '<?page=2>; rel="next"'
    second = await (await client.get(f"{LIST}/o/a/history?page=2")).json()
    assert [day["day"] for day in second["data"]["days"]] == ["2026-11-20"]
    assert second["meta"]["next_page"] is None
    assert await problem(client, f"{LIST}/o/a/history?page=3") == (422, "unprocessable_parameter", "page")


@pytest.mark.parametrize(
    ("path", "parameter"),
    [("/-a/a/history", "owner"), ("/a/.../history?page=0", "page"), ("/a/b%20c/history", "name")],
)
async def test_history_of_what_cannot_be_is_refused(client: Client, path: str, parameter: str) -> None:
    assert await problem(client, LIST + path) == (400, "invalid_parameter", parameter)


@pytest.mark.parametrize("path", ["?on=2026-11-20", "/o/a/history"])
async def test_past_is_unavailable_while_postgres_is_away(start: Start, path: str) -> None:
    client = await start(repo_service.app, NOWHERE)

    assert await problem(client, LIST + path) == (503, "database_unavailable", None)

"""What a stored trending page tells subscribers: what became new with it, once, and nothing where nothing did."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import psycopg2
import pytest
from pydantic import SecretStr

from github_client.trending.page_key import PageKey
from github_client.trending.parser import TrendingDeveloper, TrendingRepository
from github_client.trending.store import TrendingStore
from service_kit.database import Database
from tests.fakes.clock import SimulatedClock
from tests.queue_database import QueueDatabase

DAY, HOUR = 86_400, 3600
PAGE = PageKey("repositories", "daily", "c%23")


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
async def store(database_url: str, clock: SimulatedClock) -> AsyncIterator[TrendingStore]:
    database = Database(SecretStr(database_url), "test")
    await database.open()
    yield TrendingStore(database, clock)
    await database.close()


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    return QueueDatabase(database_url)


def rows(*items: str) -> list[TrendingRepository]:
    return [
        TrendingRepository(
            rank=rank,
            owner=item.split("/")[0],
            name=item.split("/")[1],
            description='Sagt "hallo", \\u0000 und 你好',
            language="C#",
            language_color="#178600",
            stars=None if rank > 1 else 1200,
            forks=3,
            period_stars=40,
            built_by=(),
        )
        for rank, item in enumerate(items, 1)
    ]


async def keep(store: TrendingStore, *items: str, key: PageKey = PAGE, is_degraded: bool = False) -> int:
    return await store.store(key, rows(*items), {}, is_degraded=is_degraded, next_fetch_in_seconds=900)


def told(tables: QueueDatabase) -> Sequence[str]:
    """The subjects of all messages, in the order in which they came."""
    return [row[0] for row in tables.rows("select subject from message where topic = 'trending.entered' order by id")]


async def test_what_becomes_new_on_a_page_is_told_with_the_facts(
    store: TrendingStore, clock: SimulatedClock, tables: QueueDatabase
) -> None:
    await keep(store, "a/a")
    clock.advance(HOUR)
    await keep(store, "Octo/Cat", "a/a")

    [(subject, body, lasts)] = tables.rows("select subject, body, expires_at > now() from message")
    assert (subject, lasts) == ("repository:octo/cat", True)
    assert body == {
        "page": {
            "section": "repositories",
            "since": "daily",
            "language_slug": "c%23",
            "spoken_language_code": "",
        },
        "repository": {
            "owner": "Octo",
            "name": "Cat",
            "description": 'Sagt "hallo", \\u0000 und 你好',
            "language": "C#",
            "stars": 1200,
            "forks": 3,
            "period_stars": 40,
            "rank": 1,
            "first_seen": "2026-11-20T13:00:00Z",
        },
        "taken_at": "2026-11-20T13:00:00Z",
    }
    assert tables.rows("select count(*) from fan_out") == [(1,)]


async def test_first_snapshot_of_a_page_tells_nothing(store: TrendingStore, tables: QueueDatabase) -> None:
    await keep(store, "a/a", "b/b")

    assert told(tables) == []


async def test_page_that_rested_for_a_month_begins_afresh(
    store: TrendingStore, clock: SimulatedClock, tables: QueueDatabase
) -> None:
    await keep(store, "a/a")
    clock.advance(31 * DAY)
    await keep(store, "b/b")
    assert told(tables) == []

    clock.advance(HOUR)
    await keep(store, "b/b", "c/c")
    assert told(tables) == ["repository:c/c"]


async def test_new_repository_is_told_once_however_often_it_comes_and_goes_that_day(
    store: TrendingStore, clock: SimulatedClock, tables: QueueDatabase
) -> None:
    for items in (("a/a",), ("a/a", "b/b"), ("a/a", "B/B"), ("a/a",), ("a/a", "b/b")):
        await keep(store, *items)
        clock.advance(HOUR)
    clock.advance(DAY)
    await keep(store, "a/a", "b/b")

    assert told(tables) == ["repository:b/b"]
    assert tables.rows("select occurrences from message") == [(1,)]


async def test_what_comes_back_after_more_than_a_month_is_told_again(
    store: TrendingStore, clock: SimulatedClock, tables: QueueDatabase
) -> None:
    await keep(store, "a/a")
    for _ in range(4):
        clock.advance(10 * DAY)
        await keep(store, "x/x")
    await keep(store, "x/x", "a/a")

    assert told(tables) == ["repository:x/x", "repository:a/a"]


async def test_each_page_tells_for_itself(store: TrendingStore, clock: SimulatedClock, tables: QueueDatabase) -> None:
    pages = (PAGE, PageKey("repositories", "weekly"))
    for key in pages:
        await keep(store, "a/a", key=key)
    clock.advance(HOUR)
    for key in pages:
        await keep(store, "b/b", "a/a", key=key)

    assert told(tables) == ["repository:b/b"] * 2


async def test_degraded_page_tells_nothing_and_is_no_first_snapshot(
    store: TrendingStore, clock: SimulatedClock, tables: QueueDatabase
) -> None:
    await keep(store, "a/a", is_degraded=True)
    clock.advance(HOUR)
    await keep(store, "a/a", "b/b")
    await keep(store, "a/a", "b/b", "c/c", is_degraded=True)

    assert told(tables) == []


async def test_developers_are_not_told(store: TrendingStore, clock: SimulatedClock, tables: QueueDatabase) -> None:
    for login in ("octo", "hexa"):
        developer = TrendingDeveloper(1, login, None, None, None)
        await store.store(PageKey("developers", "daily"), [developer], {}, is_degraded=False, next_fetch_in_seconds=900)
        clock.advance(HOUR)

    assert tables.rows("select * from message") == []


async def test_statement_that_is_run_twice_tells_once(
    store: TrendingStore, clock: SimulatedClock, tables: QueueDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(store, "a/a")
    clock.advance(HOUR)
    monkeypatch.setattr("github_client.trending.store.secrets.randbits", lambda _: 7)
    await keep(store, "a/a", "b/b")
    clock.advance(DAY)
    await keep(store, "a/a", "b/b", "c/c")

    assert told(tables) == ["repository:b/b"]


async def test_news_of_a_page_that_could_not_be_stored_are_not_told(
    store: TrendingStore, clock: SimulatedClock, tables: QueueDatabase
) -> None:
    await keep(store, "a/a")
    tables.rows("alter table trending_snapshot add constraint refused check (row_count < 2)")
    clock.advance(HOUR)
    with pytest.raises(psycopg2.errors.CheckViolation):
        await keep(store, "a/a", "b/b")

    assert told(tables) == []
    assert tables.rows("select * from fan_out") == []


async def test_pages_that_are_subscribed_to_are_kept_warm(
    store: TrendingStore, clock: SimulatedClock, tables: QueueDatabase
) -> None:
    def subscribe(state: str, **columns: Any) -> None:
        columns = {"topic": "trending.entered", **columns}
        tables.rows(
            f"""with new as (insert into endpoint (channel, state) values ('webhook', %s) returning id)
            insert into subscription (endpoint_id, {", ".join(columns)})
            select id, {", ".join(["%s"] * len(columns))} from new""",
            (state, *columns.values()),
        )

    subscribe("active", languages=["rust", "zig"])
    subscribe("active", languages=["rust"], mode="daily", digest_hour=8, next_digest_at="infinity")
    subscribe("active", since="weekly")
    subscribe("active", languages=["go"], paused=True)
    subscribe("unconfirmed", languages=["c"])
    subscribe("disabled", languages=["java"])
    subscribe("active", topic="release.published", repository="a/a")
    await store.ask_for_subscribers()
    clock.advance(23 * HOUR)
    await store.ask_for_subscribers()
    clock.advance(2 * HOUR)

    await store.lead("x")
    warm = {
        await store.claim("x", 0.0),
        await store.claim("x", 0.0),
        await store.claim("x", 0.0),
        await store.claim("x", 0.0),
    }
    assert warm == {
        PageKey("repositories", "daily", "rust"),
        PageKey("repositories", "daily", "zig"),
        PageKey("repositories", "weekly"),
        None,
    }

"""The trending store on a real Postgres: what is shown, history over days, who fetches what and when, what is kept."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg2
import pytest
from pydantic import SecretStr

from github_client.languages import Language
from github_client.trending.page_key import PageKey
from github_client.trending.parser import TrendingDeveloper, TrendingRepository
from github_client.trending.store import MOST_WARM, QUERIES, TrendingStore
from github_client.trending.stored import Baseline, Failing, StoredPage, Unchanged
from service_kit.database import Database
from tests.fakes.clock import SimulatedClock
from tests.queue_database import QueueDatabase

DAY, HOUR, MINUTE = 86_400, 3600, 60
PAGE = PageKey("repositories", "daily")
OTHER = PageKey("repositories", "weekly", "c%23", "zh")
START = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(START)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(SecretStr(database_url), "test")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database, clock: SimulatedClock) -> TrendingStore:
    return TrendingStore(database, clock)


def repository(item: str, rank: int, stars: int | None = 100, period_stars: int | None = 10) -> TrendingRepository:
    owner, name = item.split("/")
    return TrendingRepository(
        rank=rank,
        owner=owner,
        name=name,
        description='Sagt "hallo", \\u0000, {"a": ]} und 你好',
        language="C#",
        language_color="#178600",
        stars=stars,
        forks=3,
        period_stars=period_stars,
        built_by=(),
    )


async def keep(store: TrendingStore, *items: str, key: PageKey = PAGE, is_degraded: bool = False) -> int:
    """Store a snapshot with these items, best first."""
    rows = [repository(item, rank) for rank, item in enumerate(items, 1)]
    return await store.store(
        key, rows, {"stars": len(rows)}, is_degraded=is_degraded, next_fetch_in_seconds=15 * MINUTE
    )


async def shown(store: TrendingStore, key: PageKey = PAGE) -> StoredPage:
    page = await store.latest(key)
    assert isinstance(page, StoredPage)
    return page


async def row(store: TrendingStore, item: str) -> dict[str, Any]:
    """The row of an item on the page that is shown."""
    rows = json.loads((await shown(store)).rows)
    return next(each for each in rows if f"{each['owner']}/{each['name']}" == item)


async def each(store: TrendingStore, field: str) -> dict[str, Any]:
    """A field of all rows that are shown, by item."""
    return {f"{one['owner']}/{one['name']}": one[field] for one in json.loads((await shown(store)).rows)}


# What is shown


async def test_unknown_page_has_nothing_to_show(store: TrendingStore) -> None:
    await keep(store, "a/a", key=OTHER)

    assert await store.latest(PAGE) is None


async def test_stored_page_is_shown_as_it_was_with_its_history(store: TrendingStore) -> None:
    given = repository("a/a", 1)
    snapshot_id = await store.store(PAGE, [given], {"stars": 1}, is_degraded=False, next_fetch_in_seconds=900)

    page = await shown(store)
    assert (page.snapshot_id, page.taken_at, page.is_degraded) == (snapshot_id, START, False)
    assert json.loads(page.rows) == [
        {
            "rank": 1,
            "owner": "a",
            "name": "a",
            "description": given.description,
            "language": "C#",
            "language_color": "#178600",
            "stars": 100,
            "forks": 3,
            "period_stars": 10,
            "built_by": [],
            "first_seen": "2026-11-20T12:00:00Z",
            "streak_days": 1,
            "best_rank": 1,
            "rank_change": None,
            "is_new": True,
        }
    ]
    assert b": " not in page.rows.replace(b'\\"a\\": ', b""), "compact, as all our JSON"


async def test_rows_stay_in_the_page_s_order(store: TrendingStore) -> None:
    items = [f"o/r{number}" for number in range(25)]
    await keep(store, *items)

    assert list(await each(store, "rank")) == items


async def test_page_that_has_no_rows_is_shown_as_empty(store: TrendingStore) -> None:
    await keep(store)

    assert (await shown(store)).rows == b"[]"


async def test_developers_are_told_apart_by_login(store: TrendingStore, clock: SimulatedClock) -> None:
    key = PageKey("developers", "daily")
    for rank in (3, 1):
        developer = TrendingDeveloper(rank, "Octo", None, None, None)
        await store.store(key, [developer], {}, is_degraded=False, next_fetch_in_seconds=900)
        clock.advance(DAY)

    [told] = json.loads((await shown(store, key)).rows)
    assert (told["login"], told["streak_days"], told["rank_change"]) == ("Octo", 2, 2)
    history = await store.history(key, "octo", 1)
    assert history is not None
    assert [(day.rank, day.stars) for day in history.days] == [(1, None), (3, None)]


async def test_age_grows_until_a_new_snapshot_is_stored(store: TrendingStore, clock: SimulatedClock) -> None:
    await keep(store, "a/a")
    clock.advance(90)
    assert (await shown(store)).age_seconds == 90

    await keep(store, "b/b")
    page = await shown(store)
    assert (page.age_seconds, json.loads(page.rows)[0]["name"]) == (0, "b")


async def test_known_snapshot_is_not_sent_again(store: TrendingStore, clock: SimulatedClock) -> None:
    first = await keep(store, "a/a")
    clock.advance(60)

    assert await store.latest(PAGE, first) == Unchanged(age_seconds=60, failing=False)
    await store.fail(PAGE, "a 500", 600)
    assert await store.latest(PAGE, first) == Unchanged(age_seconds=60, failing=True)
    second = await keep(store, "b/b")
    newer = await store.latest(PAGE, first)
    assert isinstance(newer, StoredPage)
    assert newer.snapshot_id == second


async def test_pages_of_other_periods_and_languages_are_other_pages(store: TrendingStore) -> None:
    await keep(store, "a/a")
    for key in (
        PageKey("developers", "daily"),
        PageKey("repositories", "weekly"),
        PageKey("repositories", "daily", "c"),
        PageKey("repositories", "daily", "", "zh"),
    ):
        assert await store.latest(key) is None


async def test_failure_leaves_what_is_shown_and_counts_until_a_good_fetch(store: TrendingStore) -> None:
    await keep(store, "a/a")

    assert [await store.fail(PAGE, "a 500", 600) for _ in range(3)] == [1, 2, 3]
    assert json.loads((await shown(store)).rows)[0]["name"] == "a"
    await keep(store, "b/b", is_degraded=True)
    assert await store.fail(PAGE, "a 500", 600) == 4
    await keep(store, "b/b")
    assert await store.fail(PAGE, "a 500", 600) == 1


async def test_page_that_never_came_may_be_tried_again_sooner(store: TrendingStore, clock: SimulatedClock) -> None:
    await store.ask([PAGE])
    await store.lead("one")
    await store.claim("one", 5)
    assert await store.failing(PAGE) is None
    await store.fail(PAGE, "a 500", 60)
    assert await store.failing(PAGE) == Failing("a 500", 60)
    clock.advance(59)
    await store.lead("one")

    assert await store.claim("one", 5) is None
    clock.advance(1)
    assert await store.claim("one", 5) == PAGE
    await keep(store, "a/a")
    assert await store.failing(PAGE) is None


# Degraded snapshots


async def test_degraded_snapshot_is_shown_where_there_is_nothing_better(store: TrendingStore) -> None:
    await keep(store, "a/a", is_degraded=True)
    await keep(store, "b/b", is_degraded=True)

    page = await shown(store)
    assert page.is_degraded
    [told] = json.loads(page.rows)
    assert told["name"] == "b"
    history = {told[field] for field in ("first_seen", "streak_days", "best_rank", "rank_change", "is_new")}
    assert history == {None}


async def test_good_snapshot_replaces_a_degraded_one_and_never_the_other_way(store: TrendingStore) -> None:
    await keep(store, "a/a", is_degraded=True)
    await keep(store, "b/b")
    await keep(store, "c/c", is_degraded=True)

    page = await shown(store)
    assert not page.is_degraded
    assert json.loads(page.rows)[0]["name"] == "b"


async def test_degraded_snapshot_is_no_part_of_history(store: TrendingStore, clock: SimulatedClock) -> None:
    await keep(store, "a/a", "b/b")
    clock.advance(DAY)
    await keep(store, "b/b", "a/a", "c/c", is_degraded=True)
    clock.advance(DAY)
    await keep(store, "a/a", "c/c")

    assert await each(store, "streak_days") == {"a/a": 1, "c/c": 1}
    assert await each(store, "rank_change") == {"a/a": None, "c/c": None}
    assert (await row(store, "c/c"))["first_seen"] == "2026-11-22T12:00:00Z"
    history = await store.history(PAGE, "b/b", 1)
    assert history is not None
    assert (history.standing.best_rank, [day.day for day in history.days]) == (2, [date(2026, 11, 20)])
    assert await store.on(PAGE, date(2026, 11, 21)) is None


# History


async def test_first_seen_never_changes_and_best_rank_only_improves(
    store: TrendingStore, clock: SimulatedClock
) -> None:
    best = []
    for order in ("bac", "abc", "bca"):
        await keep(store, *(f"o/{name}" for name in order))
        told = await row(store, "o/a")
        best.append(told["best_rank"])
        assert told["first_seen"] == "2026-11-20T12:00:00Z"
        clock.advance(40 * DAY)

    assert best == [2, 1, 1]


async def test_streak_counts_days_not_snapshots(store: TrendingStore, clock: SimulatedClock) -> None:
    streaks = []
    for _ in range(5):
        await keep(store, "a/a")
        streaks.append((await row(store, "a/a"))["streak_days"])
        clock.advance(9 * HOUR)

    # 12:00 and 21:00; 6:00 and 15:00; 0:00.
    assert streaks == [1, 1, 2, 2, 3]


async def test_day_off_the_page_breaks_the_streak(store: TrendingStore, clock: SimulatedClock) -> None:
    for items in (["a/a", "b/b"], ["b/b"], ["a/a", "b/b"]):
        await keep(store, *items)
        clock.advance(DAY)

    assert await each(store, "streak_days") == {"a/a": 1, "b/b": 3}


async def test_day_without_a_snapshot_breaks_the_streak(store: TrendingStore, clock: SimulatedClock) -> None:
    await keep(store, "a/a")
    clock.advance(2 * DAY)
    await keep(store, "a/a")

    told = await row(store, "a/a")
    assert (told["streak_days"], told["rank_change"], told["is_new"]) == (1, None, False)


async def test_one_good_sight_in_a_day_is_enough_for_the_streak(store: TrendingStore, clock: SimulatedClock) -> None:
    for items in (["a/a"], ["b/b"]):
        await keep(store, *items)
        clock.advance(HOUR)
    clock.advance(DAY)
    await keep(store, "a/a")

    told = await row(store, "a/a")
    assert (told["streak_days"], told["rank_change"]) == (2, None), "not on the last snapshot of the day before"


async def test_day_ends_at_midnight_utc_whatever_the_database_s_time_zone(
    store: TrendingStore, clock: SimulatedClock, database: Database, database_url: str
) -> None:
    name = QueueDatabase(database_url).rows("select current_database()")[0][0]
    QueueDatabase(database_url).rows(f"alter database {name} set timezone = 'Asia/Shanghai'")
    clock.advance(12 * HOUR - 1)
    await keep(store, "a/a", "b/b")
    before = await each(store, "streak_days")
    assert await store.on(PAGE, date(2026, 11, 21)) is None
    clock.advance(1)
    await keep(store, "b/b", "a/a")

    assert before == {"a/a": 1, "b/b": 1}
    assert await each(store, "streak_days") == {"a/a": 2, "b/b": 2}
    assert await each(store, "rank_change") == {"b/b": 1, "a/a": -1}
    assert (await row(store, "a/a"))["first_seen"] == "2026-11-20T23:59:59Z"
    assert await database.fetch_one("show timezone") == ("Asia/Shanghai",)
    last = await store.on(PAGE, date(2026, 11, 20))
    assert last is not None
    assert last.taken_at == datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
    clock.advance(20 * HOUR)
    await keep(store, "a/a", "b/b")
    clock.advance(28 * HOUR)
    await keep(store, "a/a", "b/b")
    assert await each(store, "rank_change") == {"a/a": None, "b/b": None}


async def test_rank_is_compared_with_the_last_snapshot_of_the_day_before(
    store: TrendingStore, clock: SimulatedClock
) -> None:
    await keep(store, "a/a", "b/b", "c/c")
    clock.advance(HOUR)
    await keep(store, "c/c", "a/a", "b/b")
    clock.advance(DAY)
    await keep(store, "b/b", "a/a", "c/c", "d/d")
    clock.advance(HOUR)
    await keep(store, "d/d", "c/c", "b/b", "a/a")

    assert await each(store, "rank_change") == {"d/d": None, "c/c": -1, "b/b": 0, "a/a": -2}


async def test_new_is_new_through_its_first_day_only(store: TrendingStore, clock: SimulatedClock) -> None:
    news = []
    for _ in range(3):
        await keep(store, "a/a")
        news.append((await row(store, "a/a"))["is_new"])
        clock.advance(8 * HOUR)

    # 12:00, 20:00, 4:00.
    assert news == [True, True, False]


@pytest.mark.parametrize(("days_away", "is_new"), [(1, False), (30, False), (31, True)])
async def test_what_comes_back_after_more_than_30_days_is_new_again(
    store: TrendingStore, clock: SimulatedClock, days_away: int, is_new: bool
) -> None:
    await keep(store, "a/a")
    clock.advance(days_away * DAY)
    await keep(store, "b/b", "a/a")
    clock.advance(HOUR)
    await keep(store, "b/b", "a/a")

    assert (await row(store, "a/a"))["is_new"] is is_new


async def test_case_of_a_name_is_no_difference(store: TrendingStore, clock: SimulatedClock) -> None:
    await keep(store, "x/x", "Octo/Cat")
    clock.advance(DAY)
    await keep(store, "octo/CAT", "x/x")

    told = await row(store, "octo/CAT")
    assert (told["streak_days"], told["rank_change"], told["is_new"]) == (2, 1, False)
    history = await store.history(PAGE, "OCTO/cat", 1)
    assert history is not None
    assert len(history.days) == 2


async def test_item_named_twice_counts_once_at_its_better_place(store: TrendingStore) -> None:
    await keep(store, "a/a", "b/b", "A/a")

    assert [told["best_rank"] for told in json.loads((await shown(store)).rows)] == [1, 2, 1]


async def test_history_of_an_item_tells_its_days_newest_first(store: TrendingStore, clock: SimulatedClock) -> None:
    rows: Sequence[tuple[int, int | None]]
    for rows in ([(2, 100), (4, 110)], [(3, None)], [(9, 130), (1, 140)]):
        for rank, stars in rows:
            await store.store(
                PAGE,
                [repository("a/a", rank, stars, stars)],
                {},
                is_degraded=False,
                next_fetch_in_seconds=900,
            )
            clock.advance(HOUR)
        clock.advance(DAY - 2 * HOUR)

    history = await store.history(PAGE, "a/a", 1)
    assert history is not None
    days = [(day.day.day, day.rank, day.best_rank, day.stars, day.period_stars) for day in history.days]
    assert days == [(22, 1, 1, 140, 140), (21, 3, 3, None, None), (20, 4, 2, 110, 110)]
    assert (history.rank, history.standing.best_rank, history.standing.streak_days) == (1, 1, 3)
    assert (history.standing.rank_change, history.standing.is_new) == (2, False)
    assert history.standing.first_seen == START
    assert history.next_page is None


async def test_history_comes_in_pages_of_thirty_days(store: TrendingStore, clock: SimulatedClock) -> None:
    for _ in range(31):
        await keep(store, "a/a")
        clock.advance(DAY)

    first, second, third = [await store.history(PAGE, "a/a", page) for page in (1, 2, 3)]
    assert first is not None
    assert second is not None
    assert third is not None
    assert (len(first.days), first.next_page) == (30, 2)
    assert ([day.day for day in second.days], second.next_page) == ([START.date()], None)
    assert (third.days, third.next_page) == ([], None)


async def test_history_of_what_left_the_page_has_no_streak(store: TrendingStore, clock: SimulatedClock) -> None:
    await keep(store, "a/a", "b/b")
    clock.advance(DAY)
    await keep(store, "b/b")

    history = await store.history(PAGE, "a/a", 1)
    assert history is not None
    assert (history.rank, history.standing.rank_change, history.standing.streak_days) == (None, None, 0)
    assert not history.standing.is_new
    assert len(history.days) == 1


async def test_history_of_what_was_never_seen_on_this_page_is_none(store: TrendingStore) -> None:
    await keep(store, "a/a", key=OTHER)
    await keep(store, "b/b")

    assert await store.history(PAGE, "a/a", 1) is None


async def test_day_answers_its_last_good_snapshot(store: TrendingStore, clock: SimulatedClock) -> None:
    for items in (["a/a"], ["b/b"]):
        await keep(store, *items)
        clock.advance(HOUR)
    await keep(store, "c/c", is_degraded=True)
    clock.advance(DAY)
    await keep(store, "d/d")

    page = await store.on(PAGE, START.date())
    assert page is not None
    assert json.loads(page.rows)[0]["name"] == "b"
    assert await store.on(PAGE, START.date() - timedelta(days=1)) is None


async def test_simultaneous_writers_of_one_page_leave_one_consistent_history(
    store: TrendingStore, clock: SimulatedClock
) -> None:
    await asyncio.gather(*(keep(store, "a/a", "b/b") for _ in range(8)))
    clock.advance(DAY)
    await asyncio.gather(*(keep(store, *(("a/a", "b/b") if n % 2 else ("b/b", "a/a"))) for n in range(8)))

    assert await each(store, "streak_days") == {"a/a": 2, "b/b": 2}
    assert set((await each(store, "best_rank")).values()) == {1}


async def test_snapshot_stored_twice_is_stored_once_even_over_midnight(
    store: TrendingStore, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setattr("github_client.trending.store.secrets.randbits", lambda _bits: 7)
    clock.advance(12 * HOUR - 1)
    for _ in range(2):
        assert await keep(store, "a/a") == 7
        clock.advance(1)
    history = await store.history(PAGE, "a/a", 1)
    assert history is not None
    assert (history.standing.streak_days, len(history.days)) == (1, 1)

    assert QueueDatabase(database_url).rows("select count(*) from trending_snapshot") == [(1,)]
    assert json.loads((await shown(store)).rows)[0]["streak_days"] == 1


# Who fetches what, and when


async def test_page_asked_for_is_due_at_once_and_then_in_ten_minutes(
    store: TrendingStore, clock: SimulatedClock
) -> None:
    await store.ask([PAGE])
    assert await store.lead("one")

    assert await store.claim("one", 5) == PAGE
    claims = []
    for _ in range(12):
        clock.advance(MINUTE)
        await store.lead("one")
        claims.append(await store.claim("one", 5))
    assert claims == [None] * 9 + [PAGE] + [None] * 2


async def test_nothing_shortens_the_ten_minutes(store: TrendingStore, clock: SimulatedClock) -> None:
    await store.ask([PAGE])
    await store.lead("one")
    await store.claim("one", 5)
    await store.store(PAGE, [], {}, is_degraded=False, next_fetch_in_seconds=1)
    await store.fail(PAGE, "a 500", 1)
    clock.advance(599)
    await store.ask([PAGE], waiting=True)
    await store.lead("one")

    assert await store.claim("one", 5) is None
    clock.advance(1)
    assert await store.claim("one", 5) == PAGE


async def test_page_is_fetched_again_when_its_store_or_its_failure_said_so(
    store: TrendingStore, clock: SimulatedClock
) -> None:
    await store.ask([PAGE, OTHER])
    await store.lead("one")
    for _ in range(2):
        assert await store.claim("one", 5)
        clock.advance(6)
    await store.store(PAGE, [], {}, is_degraded=False, next_fetch_in_seconds=1800)
    await store.fail(OTHER, "a 500", 3600)
    clock.advance(1799)
    await store.lead("one")
    assert await store.claim("one", 5) is None
    clock.advance(1)
    assert await store.claim("one", 5) == PAGE
    await store.store(PAGE, [], {}, is_degraded=False, next_fetch_in_seconds=7200)
    clock.advance(1800)
    await store.lead("one")
    assert await store.claim("one", 5) == OTHER


async def test_pace_holds_over_a_change_of_collectors(store: TrendingStore, clock: SimulatedClock) -> None:
    await store.ask([PageKey("repositories", "daily", f"l{number}") for number in range(40)])
    fetched_at: list[float] = []
    for second in range(150):
        holder = f"collector {second // 7}"
        await store.lead(holder)
        fetched_at.extend([second for _ in range(2) if await store.claim(holder, 5)])
        await store.resign(holder)
        clock.advance(1)

    pauses = [later - earlier for earlier, later in pairwise(fetched_at)]
    assert len(pauses) > 20
    assert set(pauses) <= {5, 6, 7}


async def test_pace_is_never_faster_than_asked_for_and_at_most_a_fifth_slower(
    store: TrendingStore, clock: SimulatedClock
) -> None:
    await store.ask([PageKey("repositories", "daily", f"l{number}") for number in range(11)])
    for _ in range(10):
        await store.lead("one")
        assert await store.claim("one", 100)
        clock.advance(99.9)
        await store.lead("one")
        assert await store.claim("one", 100) is None
        clock.advance(20.1)


async def test_page_that_comes_to_be_wanted_during_a_claim_does_not_break_the_pace(
    store: TrendingStore, clock: SimulatedClock, database_url: str
) -> None:
    await store.ask([PAGE])
    await store.lead("one")
    parameters = {
        "now": clock.utc(),
        "holder": "one",
        "interval_seconds": 5,
        "jitter": 0,
        "floor_seconds": 600,
        "warm_seconds": DAY,
        "most_warm": MOST_WARM,
    }
    with closing(psycopg2.connect(database_url)) as first, first.cursor() as cursor:
        cursor.execute(QUERIES["claim"], parameters)
        assert cursor.rowcount == 1
        await store.ask([OTHER], waiting=True)
        second = asyncio.create_task(store.claim("one", 5))
        await blocked(database_url)
        first.commit()

    assert await second is None


async def blocked(url: str) -> None:
    """Wait until a statement waits for another."""
    async with asyncio.timeout(5):
        while not QueueDatabase(url).rows("select pid from pg_locks where not granted"):
            await asyncio.sleep(0.01)


async def test_only_the_holder_of_the_lease_may_claim(store: TrendingStore) -> None:
    await store.ask([PAGE])
    assert await store.claim("one", 5) is None

    assert await store.lead("one")
    assert not await store.lead("two")
    assert await store.claim("two", 5) is None
    assert await store.claim("one", 5) == PAGE


async def test_silent_collector_is_replaced_after_fifteen_seconds(store: TrendingStore, clock: SimulatedClock) -> None:
    await store.ask([PAGE])
    assert await store.lead("one")
    clock.advance(15)
    assert not await store.lead("two")
    clock.advance(0.1)
    assert await store.lead("two")

    assert not await store.lead("one")
    assert await store.claim("one", 5) is None
    assert await store.claim("two", 5) == PAGE


async def test_lease_that_ran_out_allows_no_claim(store: TrendingStore, clock: SimulatedClock) -> None:
    await store.ask([PAGE])
    await store.lead("one")
    clock.advance(16)

    assert await store.claim("one", 5) is None


async def test_renewed_lease_is_kept_and_a_resigned_one_is_free(store: TrendingStore, clock: SimulatedClock) -> None:
    assert await store.lead("one")
    clock.advance(10)
    assert await store.lead("one")
    clock.advance(10)
    assert not await store.lead("two")
    await store.resign("two")
    assert not await store.lead("two")
    await store.resign("one")
    assert await store.lead("two")


async def test_one_of_many_becomes_the_collector(store: TrendingStore) -> None:
    leaders = await asyncio.gather(*(store.lead(f"collector {number}") for number in range(12)))

    assert leaders.count(True) == 1


async def test_simultaneous_claims_fetch_one_page(store: TrendingStore) -> None:
    await store.ask([PAGE, OTHER])
    await store.lead("one")

    claims = await asyncio.gather(*(store.claim("one", 5) for _ in range(12)))
    assert len([claim for claim in claims if claim]) == 1


async def test_simultaneous_claims_without_a_pace_never_fetch_a_page_twice(store: TrendingStore) -> None:
    keys = [PageKey("repositories", "daily", f"l{number}") for number in range(6)]
    await store.ask(keys)
    await store.lead("one")

    claims = [claim for _ in range(6) for claim in await asyncio.gather(*(store.claim("one", 0) for _ in range(4)))]
    claimed = [claim.language_slug for claim in claims if claim]
    assert sorted(claimed) == [key.language_slug for key in keys]


async def test_clock_that_jumped_ahead_and_back_stops_nothing(store: TrendingStore, clock: SimulatedClock) -> None:
    clock.advance(DAY)
    await store.lead("one")
    await store.ask([PAGE])
    await store.claim("one", 5)
    clock.advance(-DAY)

    assert await store.lead("two")
    await store.ask([OTHER])
    assert await store.claim("two", 5) == OTHER


async def test_page_a_person_waits_for_comes_first(store: TrendingStore, clock: SimulatedClock) -> None:
    overdue, wanted = PAGE, OTHER
    await store.ask([overdue])
    clock.advance(30 * MINUTE)
    await store.ask([wanted])
    await store.ask([wanted], waiting=True)
    await store.lead("one")

    assert await store.claim("one", 0) == wanted
    assert await store.claim("one", 0) == overdue


async def test_page_is_wanted_until_it_is_claimed(store: TrendingStore, clock: SimulatedClock) -> None:
    await store.ask([OTHER], waiting=True)
    await store.lead("one")
    assert await store.claim("one", 0) == OTHER
    await store.ask([PAGE])
    clock.advance(11 * MINUTE)
    await store.lead("one")

    assert [await store.claim("one", 0) for _ in range(2)] == [PAGE, OTHER]


async def test_longest_overdue_comes_first(store: TrendingStore, clock: SimulatedClock) -> None:
    keys = [PageKey("repositories", "daily", slug) for slug in ("b", "c", "a")]
    for key in keys:
        await store.ask([key])
        clock.advance(1)
    await store.lead("one")

    assert [await store.claim("one", 0) for _ in range(4)] == [*keys, None]


async def test_waiting_people_cannot_hold_up_the_others_for_ever(store: TrendingStore, clock: SimulatedClock) -> None:
    await store.ask([PAGE])
    clock.advance(HOUR + 1)
    await store.ask([OTHER], waiting=True)
    await store.lead("one")

    assert await store.claim("one", 0) == PAGE


async def test_page_nobody_asked_for_in_a_day_rests(store: TrendingStore, clock: SimulatedClock) -> None:
    await store.ask([PAGE, OTHER])
    clock.advance(DAY - 1)
    await store.ask([OTHER])
    clock.advance(2)
    await store.lead("one")

    assert [await store.claim("one", 0) for _ in range(2)] == [OTHER, None]
    await store.ask([PAGE])
    assert await store.claim("one", 0) == PAGE


async def test_most_recently_asked_pages_are_kept_warm_and_no_more(store: TrendingStore, clock: SimulatedClock) -> None:
    assert MOST_WARM == 120
    old = [PageKey("repositories", "daily", f"old{number}") for number in range(5)]
    recent = [PageKey("repositories", "daily", f"new{number}") for number in range(118)]
    for key in old:
        await store.ask([key])
        clock.advance(1)
    clock.advance(20)
    await store.ask(recent)
    await store.lead("one")

    claimed = [await store.claim("one", 0) for _ in range(125)]
    assert {key for key in claimed if key} == {*recent, *old[-2:]}
    assert (await store.health()).pages_warm == 120
    assert (await store.health()).pages_known == 123


async def test_asking_for_a_page_many_times_writes_it_once(store: TrendingStore, database_url: str) -> None:
    await store.ask([PAGE])
    version = QueueDatabase(database_url).rows("select xmin, ctid from trending_page")
    await asyncio.gather(*(store.ask([PAGE, PAGE]) for _ in range(20)))

    assert QueueDatabase(database_url).rows("select xmin, ctid from trending_page") == version


# What is kept


async def test_thinning_out_leaves_a_week_and_the_last_good_one_of_each_older_day(
    store: TrendingStore, clock: SimulatedClock
) -> None:
    kept = {}
    for day in range(10):
        for hour in range(3):
            kept[day, hour] = await keep(store, f"o/r{day}-{hour}")
            await keep(store, "o/other", key=OTHER)
            clock.advance(HOUR)
        await keep(store, "o/worse", is_degraded=True)
        clock.advance(DAY - 3 * HOUR)
    # Now it is noon of the 30th: the week begins on the 23rd, three days are older.
    before = await ids(store)
    assert await store.thin_out() == 3 * (2 + 1 + 2)
    assert await store.thin_out() == 0

    left = await ids(store)
    gone = {kept[day, hour] for day in range(3) for hour in range(2)}
    assert gone & left == set()
    assert set(kept.values()) - gone <= left
    assert len(before) - len(left) == 15
    for day in range(10):
        page = await store.on(PAGE, START.date() + timedelta(days=day))
        assert page is not None
        assert json.loads(page.rows)[0]["name"] == f"r{day}-2"
    clock.advance(DAY)
    assert await store.thin_out() == 5, "the next day, and no day again"


async def ids(store: TrendingStore) -> set[int]:
    return {one for (one,) in await store._database.fetch_all("select id from trending_snapshot")}


async def test_what_is_shown_is_never_thinned_out(store: TrendingStore, clock: SimulatedClock) -> None:
    await keep(store, "a/a", is_degraded=True)
    await keep(store, "b/b", key=OTHER)
    clock.advance(400 * DAY)

    assert await store.thin_out() == 0
    assert (await shown(store)).is_degraded
    assert await shown(store, OTHER)


async def test_thinning_out_goes_on_where_a_batch_ended(
    store: TrendingStore, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("github_client.trending.store.THIN_OUT_BATCH", 2)
    for _ in range(6):
        await keep(store, "a/a")
        clock.advance(MINUTE)
    clock.advance(9 * DAY)

    assert [await store.thin_out() for _ in range(4)] == [2, 2, 1, 0]


async def test_history_outlives_the_snapshots(store: TrendingStore, clock: SimulatedClock) -> None:
    for _ in range(3):
        await keep(store, "a/a")
        clock.advance(HOUR)
    clock.advance(40 * DAY)
    await keep(store, "a/a")
    await store.thin_out()

    history = await store.history(PAGE, "a/a", 1)
    assert history is not None
    assert (history.standing.first_seen, len(history.days)) == (START, 2)


async def test_pages_that_were_never_fetched_are_forgotten_after_a_day(
    store: TrendingStore, clock: SimulatedClock
) -> None:
    await store.ask([PAGE, OTHER])
    await keep(store, "a/a", key=OTHER)
    clock.advance(DAY + 1)

    assert await store.thin_out() == 1
    assert (await store.health()).pages_known == 1


async def test_baseline_sums_up_good_snapshots_of_the_page_and_of_the_section(
    store: TrendingStore, clock: SimulatedClock
) -> None:
    for number in range(25):
        rows = [repository(f"o/r{rank}", rank) for rank in (1, 2)]
        filled = {"stars": 2, "forks": 1 if number < 10 else 0}
        await store.store(PAGE, rows, filled, is_degraded=False, next_fetch_in_seconds=900)
        await store.store(PAGE, rows, {"stars": 0}, is_degraded=True, next_fetch_in_seconds=900)
        clock.advance(MINUTE)
    await keep(store, "a/a", key=OTHER)
    await keep(store, "a/a", key=PageKey("developers", "daily"))

    assert await store.baseline("repositories", PAGE) == [
        Baseline("page", 20, 40, {"stars": 40, "forks": 5}),
        Baseline("section", 26, 51, {"stars": 51, "forks": 10}),
    ]


async def test_baseline_without_any_snapshot_is_empty(store: TrendingStore) -> None:
    assert await store.baseline("repositories", PAGE) == []


async def test_menu_is_kept_in_its_order(store: TrendingStore) -> None:
    assert await store.load_menu() is None
    menu = (Language("Zig", "zig", "#ec915c"), Language("C#", "c%23"))
    await store.save_menu([Language("Ada", "ada")])
    await store.save_menu(menu)

    assert await store.load_menu() == menu


async def test_health_of_an_empty_store(store: TrendingStore) -> None:
    health = await store.health()

    assert (health.pages_known, health.pages_warm, health.pages_failing) == (0, 0, 0)
    assert (health.failing_since, health.failing_reason, health.oldest_seconds) == (None, None, None)
    assert not health.is_collector_alive


async def test_health_tells_what_fails_since_when_and_how_old_the_oldest_page_is(
    store: TrendingStore, clock: SimulatedClock
) -> None:
    await keep(store, "a/a")
    clock.advance(MINUTE)
    await keep(store, "a/a", key=OTHER)
    await store.fail(OTHER, "a 500", 600)
    clock.advance(MINUTE)
    await store.fail(PAGE, "no rows", 600)
    await store.fail(OTHER, "a 502", 600)
    await store.lead("one")

    health = await store.health()
    assert (health.pages_known, health.pages_warm, health.pages_failing) == (2, 2, 2)
    assert (health.failing_since, health.failing_reason) == (START + timedelta(seconds=60), "a 502")
    assert health.oldest_seconds == 120
    assert health.is_collector_alive
    clock.advance(16)
    assert not (await store.health()).is_collector_alive

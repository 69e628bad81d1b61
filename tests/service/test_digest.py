"""Digests on a real Postgres: what they say, when they come, and that each comes once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg2.extras
import pytest
from pydantic import SecretStr

from notifier_service import digest as digest_module
from notifier_service.digest import Digests
from notifier_service.wording import word
from service_kit.database import Database
from tests.queue_database import QueueDatabase


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    tables = QueueDatabase(database_url)
    tables.rows("delete from endpoint")
    return tables


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(SecretStr(database_url), "test")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def digests(database: Database) -> Digests:
    return Digests(database)


def store(tables: QueueDatabase, slug: str, *stars: int, since: str = "daily", snapshot: int = 1) -> None:
    """A page of the trending store, whose rows have these stars of the period, best first."""
    rows = [
        {"rank": rank, "owner": "o", "name": f"{slug or 'all'}-{rank}", "stars": 1000, "period_stars": won}
        for rank, won in enumerate(stars, 1)
    ]
    [(page,)] = tables.rows(
        """insert into trending_page (section, since, language_slug, spoken_language_code, asked_at, next_fetch_at)
        values ('repositories', %s, %s, '', now(), now())
        on conflict (section, since, language_slug, spoken_language_code) do update set asked_at = now() returning id""",
        (since, slug),
    )
    tables.rows(
        """with snapshot as (
            insert into trending_snapshot (id, page_id, section, taken_at, row_count, filled, is_degraded, rows)
            values (%(id)s, %(page)s, 'repositories', '2026-11-27 08:00+00'::timestamptz + %(snapshot)s * interval '1 h',
                1, '{}', false, %(rows)s)
            returning id
        ) update trending_page set snapshot_id = snapshot.id from snapshot where trending_page.id = %(page)s""",
        {"id": page * 1000 + snapshot, "page": page, "snapshot": snapshot, "rows": psycopg2.extras.Json(rows)},
    )


def subscribe(tables: QueueDatabase, *languages: str, state: str = "active", **columns: Any) -> int:
    """A digest subscription that is due; its endpoint's id."""
    values = {
        "topic": "trending.digest", "languages": list(languages), "mode": "daily", "digest_hour": 8,
        "next_digest_at": "2026-11-27 08:00+00", **columns,
    }  # fmt: skip
    [(endpoint,)] = tables.rows(
        f"""with new as (insert into endpoint (channel, state) values ('webhook', %s) returning id)
        insert into subscription (endpoint_id, {", ".join(values)})
        select id, {", ".join(["%s"] * len(values))} from new returning endpoint_id""",
        (state, *values.values()),
    )
    assert isinstance(endpoint, int)
    return endpoint


def told(tables: QueueDatabase) -> list[tuple[int, list[str]]]:
    """Each delivery's endpoint, and the repositories its digest names."""
    rows = tables.rows(
        "select endpoint_id, body from delivery join message m on m.id = message_id order by 1, delivery.id"
    )
    return [
        (endpoint, [one["name"] for page in body["pages"] for one in page["repositories"]]) for endpoint, body in rows
    ]


async def test_digest_names_what_trends_in_the_chosen_languages(tables: QueueDatabase, digests: Digests) -> None:
    store(tables, "", 90)
    store(tables, "go", 80, 70)
    store(tables, "rust", 60)
    store(tables, "rust", 1, since="weekly")
    tables.rows('insert into trending_menu values (true, \'[{"name": "Go", "slug": "go"}]\', now())')
    endpoint = subscribe(tables, "go", "rust")
    await digests.send_due()

    assert told(tables) == [(endpoint, ["go-1", "go-2", "rust-1"])]
    [(topic, body)] = tables.rows("select topic, body from message")
    assert (topic, body["since"], body["as_of"]) == ("trending.digest", "daily", "2026-11-27T09:00:00Z")
    assert [(page["language_slug"], page["language"]) for page in body["pages"]] == [("go", "Go"), ("rust", "rust")]
    assert "Go, rust" in word(topic, body, "en").title.text


async def test_page_of_all_languages_together_has_no_name(tables: QueueDatabase, digests: Digests) -> None:
    store(tables, "", 90)
    subscribe(tables, "")
    await digests.send_due()

    [(body,)] = tables.rows("select body from message")
    assert [(page["language_slug"], page["language"]) for page in body["pages"]] == [("", None)]
    assert word("trending.digest", body, "zh").title.text


async def test_ten_rows_a_page_at_most_and_none_with_too_few_stars(tables: QueueDatabase, digests: Digests) -> None:
    store(tables, "go", *range(30, 10, -1))
    all_of_it = subscribe(tables, "go")
    some = subscribe(tables, "go", minimum_period_stars=28)
    none = subscribe(tables, "go", minimum_period_stars=31)
    await digests.send_due()

    assert told(tables) == [
        (all_of_it, [f"go-{rank}" for rank in range(1, 11)]),
        (some, ["go-1", "go-2", "go-3"]),
    ]
    assert tables.rows("select endpoint_id from subscription where next_digest_at <= now()") == [], none


async def test_missed_digests_are_made_up_for_by_one(tables: QueueDatabase, digests: Digests) -> None:
    store(tables, "go", 1)
    endpoint = subscribe(tables, "go", next_digest_at="2026-01-01 08:00+00")
    await digests.send_due()
    await digests.send_due()

    assert [one for one, _ in told(tables)] == [endpoint]
    assert tables.rows("select next_digest_at = next_digest(now(), 'UTC', 8::smallint, null) from subscription") == [
        (True,)
    ]


async def test_time_zone_that_postgres_does_not_know_is_read_as_utc_and_holds_up_nobody(
    tables: QueueDatabase, digests: Digests
) -> None:
    store(tables, "rust", 100)
    endpoints = [subscribe(tables, "rust", time_zone=zone) for zone in ("Asia/Atlantis", "Asia/Shanghai")]
    await digests.send_due()

    assert [endpoint for endpoint, _ in told(tables)] == endpoints
    assert tables.rows(
        "select to_char(next_digest_at at time zone 'UTC', 'HH24') from subscription order by endpoint_id"
    ) == [("08",), ("00",)]


async def test_weekly_digest_comes_on_its_weekday(tables: QueueDatabase, digests: Digests) -> None:
    store(tables, "go", 1)
    subscribe(tables, "go", mode="weekly", digest_weekday=3, time_zone="Asia/Shanghai")
    await digests.send_due()

    assert tables.rows(
        """select to_char(next_digest_at at time zone 'Asia/Shanghai', 'ID HH24:MI'),
            next_digest_at > now() and next_digest_at <= now() + interval '7 days' from subscription"""
    ) == [("3 08:00", True)]


@pytest.mark.parametrize(
    "columns", [{"paused": True}, {"state": "disabled"}, {"state": "unconfirmed"}, {"next_digest_at": "infinity"}]
)
async def test_no_digest_for_who_wants_none_now(
    tables: QueueDatabase, digests: Digests, columns: dict[str, Any]
) -> None:
    store(tables, "go", 1)
    subscribe(tables, "go", **columns)
    await digests.send_due()

    assert told(tables) == []


async def test_the_same_digest_is_not_sent_twice_and_a_new_one_is(tables: QueueDatabase, digests: Digests) -> None:
    store(tables, "go", 1)
    endpoint = subscribe(tables, "go")
    for snapshot in (None, 2):
        if snapshot:
            store(tables, "go", 1, snapshot=snapshot)
        await digests.send_due()
        tables.rows("update subscription set next_digest_at = now()")
        await digests.send_due()
        tables.rows("update subscription set next_digest_at = now()")

    assert told(tables) == [(endpoint, ["go-1"]), (endpoint, ["go-1"])]


async def test_equal_digests_are_one_message(tables: QueueDatabase, digests: Digests) -> None:
    store(tables, "go", 1)
    endpoints = [subscribe(tables, "go") for _ in range(3)]
    await digests.send_due()
    late = subscribe(tables, "go")
    await digests.send_due()

    assert [one for one, _ in told(tables)] == [*endpoints, late]
    assert tables.rows("select count(*) from message") == [(1,)]
    assert tables.rows("select count(*) from fan_out") == [(0,)]


async def test_digest_that_says_what_another_ones_did_is_not_past_its_time(
    tables: QueueDatabase, digests: Digests
) -> None:
    store(tables, "go", 1)
    subscribe(tables, "go")
    await digests.send_due()
    tables.rows("update message set expires_at = now() + interval '1 s'")
    subscribe(tables, "go")
    await digests.send_due()

    assert tables.rows("select expires_at > now() + '23 h' from message") == [(True,)]


async def test_page_that_never_came_is_left_out_and_holds_nobody_up(tables: QueueDatabase, digests: Digests) -> None:
    store(tables, "go", 1)
    both = subscribe(tables, "go", "zig")
    subscribe(tables, "zig")
    await digests.send_due()

    assert told(tables) == [(both, ["go-1"])]
    assert tables.rows("select count(*) from subscription where next_digest_at > now()") == [(2,)]


async def test_ten_replicas_at_once_send_each_digest_once(
    tables: QueueDatabase, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_module, "BATCH", 7)
    store(tables, "go", 1)
    tables.rows(
        """with new as (insert into endpoint (channel) select 'webhook' from generate_series(1, 100) returning id)
        insert into subscription (endpoint_id, topic, languages, mode, digest_hour, next_digest_at)
        select id, 'trending.digest', '{go}', 'daily', 8, now() from new"""
    )
    replicas = [Database(SecretStr(database_url), f"replica {number}") for number in range(10)]
    for replica in replicas:
        await replica.open()
    await asyncio.gather(*(Digests(replica).send_due() for replica in replicas))
    for replica in replicas:
        await replica.close()

    assert tables.rows("select count(*), count(distinct endpoint_id) from delivery") == [(100, 100)]
    assert tables.rows("select count(*) from subscription where next_digest_at <= now()") == [(0,)]


async def test_digest_wakes_the_workers(tables: QueueDatabase, digests: Digests, database: Database) -> None:
    store(tables, "go", 1)
    subscribe(tables, "go")
    listening = await database.connect()
    async with listening.cursor() as cursor:
        await cursor.execute("listen delivery")
    await digests.send_due()

    await asyncio.wait_for(listening.notifies.get(), 5)
    listening.close()

"""Who gets what: the fan-out of messages to subscriptions, on a real Postgres."""

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from typing import Any

import psycopg2.extras
import pytest

from notifier_service import fan_out as fan_out_module
from notifier_service.fan_out import FanOut
from tests.fakes.queue_worker import queue_worker
from tests.queue_database import QueueDatabase

PAGE = {"section": "repositories", "since": "daily", "language_slug": "rust", "spoken_language_code": ""}
ENTERED: dict[str, Any] = {
    "page": PAGE,
    "repository": {"owner": "Rust-Lang", "name": "Cargo", "period_stars": 80},
    "taken_at": "2026-11-27T10:00:00Z",
}
RELEASED: dict[str, Any] = {"repository": "Rust-Lang/Cargo", "tag": "v1"}
_numbers = count(1)


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    tables = QueueDatabase(database_url)
    tables.rows("delete from endpoint")
    return tables


@pytest.fixture
async def queue(database_url: str) -> AsyncIterator[FanOut]:
    async with queue_worker(database_url) as worker:
        yield worker.fan_out


def subscribe(
    tables: QueueDatabase, topic: str = "trending.entered", endpoint: int | None = None, **columns: Any
) -> int:
    """A subscription of an endpoint of its own, unless one is given; the endpoint's id."""
    state = columns.pop("state", "active")
    if endpoint is None:
        [(endpoint,)] = tables.rows(
            "insert into endpoint (channel, state) values ('webhook', %s) returning id", (state,)
        )
    values = {"endpoint_id": endpoint, "topic": topic, **columns}
    names = ", ".join(values)
    tables.rows(
        f"insert into subscription ({names}) values ({', '.join(['%s'] * len(values))})", tuple(values.values())
    )
    assert endpoint is not None
    return endpoint


def tell(
    tables: QueueDatabase, body: dict[str, Any] = ENTERED, topic: str = "trending.entered", subject: str | None = None
) -> None:
    tables.rows(
        "select enqueue_notification(%s, %s::jsonb, subject => %s)",
        (topic, psycopg2.extras.Json(body), subject or f"repository:of/{next(_numbers)}"),
    )


async def fan_out(queue: FanOut) -> None:
    await queue.fan_out()


def told(tables: QueueDatabase) -> list[int]:
    """The endpoints of all deliveries, in order."""
    return [row[0] for row in tables.rows("select endpoint_id from delivery order by id")]


def changed(body: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        **body,
        **{name: {**body[name], **value} if isinstance(value, dict) else value for name, value in members.items()},
    }


@pytest.mark.parametrize(
    ("subscription", "body", "is_told"),
    [
        ({"languages": ["rust"]}, ENTERED, True),
        ({"languages": ["c%23", "rust"]}, ENTERED, True),
        ({"languages": ["go"]}, ENTERED, False),
        ({}, ENTERED, False),  # the page of all languages together
        ({}, changed(ENTERED, page={"language_slug": ""}), True),
        ({"languages": ["rust"]}, changed(ENTERED, page={"language_slug": ""}), False),
        ({"languages": ["", "rust"]}, changed(ENTERED, page={"language_slug": ""}), True),
        ({"languages": ["rust"]}, changed(ENTERED, page={"since": "weekly"}), False),
        ({"languages": ["rust"], "since": "weekly"}, changed(ENTERED, page={"since": "weekly"}), True),
        ({"languages": ["rust"], "since": "weekly"}, ENTERED, False),
        ({"languages": ["rust"]}, changed(ENTERED, page={"section": "developers"}), False),
        ({"languages": ["rust"]}, changed(ENTERED, page={"spoken_language_code": "zh"}), False),
        ({"languages": ["rust"], "minimum_period_stars": 80}, ENTERED, True),
        ({"languages": ["rust"], "minimum_period_stars": 81}, ENTERED, False),
        (
            {"languages": ["rust"], "minimum_period_stars": 1},
            changed(ENTERED, repository={"period_stars": None}),
            False,
        ),
        ({"languages": ["rust"], "repository": "rust-lang/cargo"}, ENTERED, True),
        ({"languages": ["rust"], "repository": "rust-lang/rust"}, ENTERED, False),
        ({"languages": ["rust"], "owner_login": "rust-lang"}, ENTERED, True),
        ({"languages": ["rust"], "owner_login": "rust"}, ENTERED, False),
        ({"languages": ["rust"], "paused": True}, ENTERED, False),
        ({"languages": ["rust"], "state": "unconfirmed"}, ENTERED, False),
        ({"languages": ["rust"], "state": "disabled"}, ENTERED, False),
    ],
)
async def test_trending_is_told_to_those_whose_filter_lets_it_through(
    tables: QueueDatabase, queue: FanOut, subscription: dict[str, Any], body: dict[str, Any], is_told: bool
) -> None:
    endpoint = subscribe(tables, **subscription)
    tell(tables, body)
    await fan_out(queue)

    assert told(tables) == ([endpoint] if is_told else [])


@pytest.mark.parametrize(
    ("repository", "is_told"), [("rust-lang/cargo", True), ("rust-lang/rust", False), (None, True)]
)
async def test_release_is_told_to_those_who_watch_the_repository(
    tables: QueueDatabase, queue: FanOut, repository: str | None, is_told: bool
) -> None:
    endpoint = subscribe(tables, "release.published", repository=repository)
    tell(tables, RELEASED, "release.published", "release:rust-lang/cargo@1")
    await fan_out(queue)

    assert told(tables) == ([endpoint] if is_told else [])


async def test_nobody_is_told_the_same_thing_twice(tables: QueueDatabase, queue: FanOut) -> None:
    endpoint = subscribe(tables, languages=["", "rust"])
    subscribe(tables, endpoint=endpoint, languages=["", "rust"], since="weekly")
    tell(tables, subject="repository:rust-lang/cargo")
    tell(tables, changed(ENTERED, page={"language_slug": ""}), subject="repository:rust-lang/cargo")
    tell(tables, changed(ENTERED, page={"since": "weekly"}), subject="Repository:Rust-Lang/Cargo")
    await fan_out(queue)

    assert told(tables) == [endpoint]


async def test_a_subscriber_of_two_matching_filters_gets_one_delivery(tables: QueueDatabase, queue: FanOut) -> None:
    endpoint = subscribe(tables, languages=["rust"])
    subscribe(tables, endpoint=endpoint, languages=["rust"], minimum_period_stars=10)
    tell(tables)
    await fan_out(queue)

    assert told(tables) == [endpoint]


async def test_others_are_told_what_one_has_been_told(tables: QueueDatabase, queue: FanOut) -> None:
    first = subscribe(tables, languages=["rust"])
    tell(tables, subject="repository:rust-lang/cargo")
    await fan_out(queue)
    second = subscribe(tables, languages=["rust"])
    tell(tables, subject="repository:rust-lang/cargo")
    await fan_out(queue)

    assert told(tables) == [first, second]


async def test_who_wants_a_digest_is_told_nothing_at_once(tables: QueueDatabase, queue: FanOut) -> None:
    for topic in ("trending.entered", "trending.digest"):
        subscribe(tables, topic, languages=["rust"], mode="daily", digest_hour=8, next_digest_at="infinity")
    tell(tables)
    tell(tables, topic="trending.digest")
    await fan_out(queue)

    assert told(tables) == []


async def test_filters_that_leave_little_do_not_end_a_fan_out_early(
    tables: QueueDatabase, queue: FanOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan_out_module, "WIDE", (1, 3))
    monkeypatch.setattr(fan_out_module, "DEEP", (1, 3))
    endpoints = [subscribe(tables, languages=["rust" if number % 5 == 4 else "go"]) for number in range(20)]
    tell(tables)
    await fan_out(queue)

    assert told(tables) == endpoints[4::5]


async def test_quiet_hours_put_a_delivery_off_until_they_end(tables: QueueDatabase, queue: FanOut) -> None:
    [(now,)] = tables.rows("select now() at time zone 'UTC'")
    quiet = {"quiet_from": (now - timedelta(hours=1)).time(), "quiet_until": (now + timedelta(hours=1)).time()}
    asleep = subscribe(tables, languages=["rust"], **quiet)
    awake = subscribe(tables, languages=["rust"], quiet_from=quiet["quiet_until"], quiet_until=quiet["quiet_from"])
    tell(tables)
    await fan_out(queue)

    hours = dict(tables.rows("select endpoint_id, round(extract(epoch from run_at - now()) / 3600) from delivery"))
    assert hours == {asleep: 1, awake: 0}


async def test_time_zone_that_postgres_does_not_know_is_read_as_utc_and_holds_up_nobody(
    tables: QueueDatabase, queue: FanOut
) -> None:
    [(hour,)] = tables.rows("select date_trunc('hour', now() at time zone 'UTC')")
    quiet = {"quiet_from": hour.time(), "quiet_until": (hour + timedelta(hours=2)).time()}
    gone = subscribe(tables, languages=["rust"], time_zone="Asia/Atlantis", **quiet)
    other = subscribe(tables, languages=["rust"])
    tell(tables)
    await fan_out(queue)

    assert tables.rows("select endpoint_id, run_at > now() from delivery order by 1") == [(gone, True), (other, False)]


async def test_message_for_later_waits_for_its_time_and_is_as_young_then_as_any(
    tables: QueueDatabase, queue: FanOut
) -> None:
    subscribe(tables, "news")
    tables.rows("select enqueue_notification('news', '{}', not_before => now() + interval '9 days')")
    tables.rows("select enqueue_notification('news', '{}', not_before => now() - interval '9 days')")
    await fan_out(queue)

    assert tables.rows(
        "select run_at - now() > '8 days', run_at = created_at, created_at > now() - interval '1 min' from delivery order by id"
    ) == [(True, True, True), (False, True, True)]


NIGHT = ("22:00", "07:30")
NOON = ("12:00", "14:00")
NEW_YORK, SHANGHAI = "America/New_York", "Asia/Shanghai"


@pytest.mark.parametrize(
    ("moment", "time_zone", "hours", "expected"),
    [
        ("2026-11-27 21:59:59", "UTC", NIGHT, "2026-11-27 21:59:59"),
        ("2026-11-27 22:00", "UTC", NIGHT, "2026-11-28 07:30"),
        ("2026-11-27 23:59", "UTC", NIGHT, "2026-11-28 07:30"),
        ("2026-11-28 00:00", "UTC", NIGHT, "2026-11-28 07:30"),
        ("2026-11-28 07:29:59", "UTC", NIGHT, "2026-11-28 07:30"),
        ("2026-11-28 07:30", "UTC", NIGHT, "2026-11-28 07:30"),
        ("2026-11-27 11:59", "UTC", NOON, "2026-11-27 11:59"),
        ("2026-11-27 12:00", "UTC", NOON, "2026-11-27 14:00"),
        ("2026-11-27 14:00", "UTC", NOON, "2026-11-27 14:00"),
        ("2026-11-27 14:00", SHANGHAI, NIGHT, "2026-11-27 23:30"),  # 22:00 there
        ("2026-11-27 13:59", SHANGHAI, NIGHT, "2026-11-27 13:59"),
        # The clock is put forward on 8 March 2026: that night has an hour less, the next one is whole again.
        ("2026-03-08 04:00", NEW_YORK, NIGHT, "2026-03-08 11:30"),
        ("2026-03-09 04:00", NEW_YORK, NIGHT, "2026-03-09 11:30"),
        ("2026-03-07 04:00", NEW_YORK, NIGHT, "2026-03-07 12:30"),
        # 02:30 does not exist that night: what it would have ended ends an hour later by the same clock.
        ("2026-03-08 06:00", NEW_YORK, ("00:00", "02:30"), "2026-03-08 07:30"),
        # It is put back on 1 November 2026: 01:30 comes twice, and quiet hours last until the second one.
        ("2026-11-01 04:30", NEW_YORK, ("00:00", "01:30"), "2026-11-01 06:30"),
        ("2026-11-01 03:00", NEW_YORK, NIGHT, "2026-11-01 12:30"),
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall(
    tables: QueueDatabase, moment: str, time_zone: str, hours: tuple[str, str], expected: str
) -> None:
    [(ends, wanted)] = tables.rows(
        "select after_quiet_hours(%s::timestamptz, %s, %s, %s), %s::timestamptz",
        (f"{moment}+00", time_zone, *hours, f"{expected}+00"),
    )
    assert ends == wanted


@pytest.mark.parametrize(
    ("after", "time_zone", "hour", "weekday", "expected"),
    [
        ("2026-11-27 07:59", "UTC", 8, None, "2026-11-27 08:00"),
        ("2026-11-27 08:00", "UTC", 8, None, "2026-11-28 08:00"),
        ("2026-11-27 23:59", "UTC", 0, None, "2026-11-28 00:00"),
        ("2026-11-27 00:00", SHANGHAI, 8, None, "2026-11-28 00:00"),
        ("2026-11-26 23:59", SHANGHAI, 8, None, "2026-11-27 00:00"),
        # 27 November 2026 is a Friday.
        ("2026-11-27 07:59", "UTC", 8, 5, "2026-11-27 08:00"),
        ("2026-11-27 08:00", "UTC", 8, 5, "2026-12-04 08:00"),
        ("2026-11-27 08:00", "UTC", 8, 1, "2026-11-30 08:00"),
        ("2026-11-27 08:00", "UTC", 8, 4, "2026-12-03 08:00"),
        ("2026-11-29 17:00", SHANGHAI, 8, 1, "2026-11-30 00:00"),  # Monday there, still Sunday in UTC
        # 08:00 stays 08:00 over both changes of the clock.
        ("2026-03-07 13:00", NEW_YORK, 8, None, "2026-03-08 12:00"),
        ("2026-10-31 12:00", NEW_YORK, 8, None, "2026-11-01 13:00"),
        # 02:00 does not exist on 8 March: an hour later by the same clock; then at 02:00 again.
        ("2026-03-08 06:00", NEW_YORK, 2, None, "2026-03-08 07:00"),
        ("2026-03-08 07:00", NEW_YORK, 2, None, "2026-03-09 06:00"),
        # 01:00 comes twice on 1 November: once is enough.
        ("2026-11-01 04:59", NEW_YORK, 1, None, "2026-11-01 06:00"),
        ("2026-11-01 05:30", NEW_YORK, 1, None, "2026-11-01 06:00"),
        ("2026-11-01 06:00", NEW_YORK, 1, None, "2026-11-02 06:00"),
    ],
)
def test_digest_comes_at_its_hour_by_the_clock_on_the_wall(
    tables: QueueDatabase, after: str, time_zone: str, hour: int, weekday: int | None, expected: str
) -> None:
    [(due, wanted)] = tables.rows(
        "select next_digest(%s::timestamptz, %s, %s::smallint, %s::smallint), %s::timestamptz",
        (f"{after}+00", time_zone, hour, weekday, f"{expected}+00"),
    )
    assert due == wanted


def test_digests_of_a_leap_year_come_once_a_day_everywhere(tables: QueueDatabase) -> None:
    """From tick to tick, where the clock changes at midnight, by half an hour, and not at all."""
    for time_zone in (NEW_YORK, SHANGHAI, "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago"):
        [(ticks, days)] = tables.rows(
            """with recursive tick(at) as (
                select '2028-01-01 00:00+00'::timestamptz union all
                select next_digest(at, %(zone)s, 0::smallint, null) from tick where at < '2029-01-01 00:00+00'
            ) select count(*), count(distinct (at at time zone %(zone)s)::date) from tick""",
            {"zone": time_zone},
        )
        assert ticks == days, time_zone
        assert 366 <= ticks <= 368, time_zone

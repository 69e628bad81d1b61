"""Trending pages while github.com changes its page, limits us or is away: the last good snapshot goes on."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg2
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from github_client.languages import LanguageCatalogue
from github_client.trending.answers import TrendingAnswer
from github_client.trending.page_key import PageKey, configured_pages
from github_client.trending.watch import TrendingWatch
from local.imitation_github.app import make_app
from local.imitation_github.faults import Fault
from local.imitation_github.state import STATE
from tests.fakes.clock import SimulatedClock
from tests.fakes.trending_replica import TrendingReplica, trending_replica

DAILY = PageKey("repositories", "daily")
RUST = PageKey("repositories", "weekly", "rust")
MINUTE, HOUR = 60, 3600


class GitHub:
    """The imitation on a port of its own, with its faults and its ledger at hand."""

    def __init__(self, app: web.Application, server: BaseTestServer) -> None:
        self._state = app[STATE]
        self.url = str(server.make_url("")).rstrip("/")

    def fail(self, kind: str, match: str = "/trending", **told: Any) -> None:
        self._state.faults.add(Fault(match, kind, **told))

    def heal(self) -> None:
        self._state.faults.clear()

    @property
    def asked(self) -> list[tuple[datetime, str]]:
        """When it was asked for which page."""
        return [(datetime.fromisoformat(each["at"]), f"{each['path']}?{each['query']}") for each in self._state.log]


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
async def github(clock: SimulatedClock) -> AsyncIterator[GitHub]:
    app = make_app(clock=clock.utc)
    async with TestServer(app) as server:
        yield GitHub(app, server)


@pytest.fixture
async def replica(github: GitHub, database_url: str, clock: SimulatedClock) -> AsyncIterator[TrendingReplica]:
    async with trending_replica(github.url, database_url, clock) as started:
        yield started


def names(answer: TrendingAnswer) -> list[str]:
    rows = json.loads(answer.rows)
    assert rows
    return [f"{row['owner']}/{row['name']}" for row in rows]


def alerts(database_url: str) -> list[dict[str, Any]]:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("select body from message where topic = 'alert' order by id")
        return [body for (body,) in cursor.fetchall()]


async def readiness(replica: TrendingReplica) -> tuple[bool, dict[str, Any]]:
    watch = TrendingWatch(replica.store, LanguageCatalogue(), lambda _: None, lambda: True)
    return await watch.is_well(), watch.details()


@pytest.mark.parametrize(
    ("kind", "outcome", "reason"),
    [("no_stars", "degraded", "rows have stars"), ("empty_trending", "unreadable", "no rows")],
)
async def test_a_changed_page_leaves_the_last_good_snapshot_and_is_told_once(
    github: GitHub,
    replica: TrendingReplica,
    database_url: str,
    clock: SimulatedClock,
    kind: str,
    outcome: str,
    reason: str,
) -> None:
    await replica.collect(MINUTE)
    before = await replica.answers.latest(DAILY)
    assert (await readiness(replica))[0]

    github.fail(kind, match="/trending?")
    await replica.collect(50 * MINUTE)
    during = await replica.answers.latest(DAILY)
    assert (names(during), during.snapshot_id) == (names(before), before.snapshot_id)
    assert during.is_stale
    assert during.as_of == before.as_of
    [alert] = alerts(database_url)
    assert (alert["error"], alert["where"]) == ("TrendingPageChanged", "repositories")
    assert reason in alert["message"]
    is_well, details = await readiness(replica)
    assert not is_well
    assert reason in details["failing_reason"]
    assert details["pages_failing"] == 3
    assert replica.metric("trending_parses_total", section="repositories", verdict=outcome) >= 3
    assert replica.metric("trending_parses_total", section="developers", verdict=outcome) == 0

    github.heal()
    await replica.collect(40 * MINUTE)
    after = await replica.answers.latest(DAILY)
    assert not after.is_stale
    assert after.as_of > during.as_of
    assert (await readiness(replica))[0]
    assert len(alerts(database_url)) == 1


async def test_an_incident_that_lasts_is_told_again_the_next_day(
    github: GitHub, replica: TrendingReplica, database_url: str
) -> None:
    github.fail("no_stars", match="/trending?")
    await replica.collect(11 * HOUR, step_seconds=12)
    assert len(alerts(database_url)) == 1
    await replica.collect(3 * HOUR, step_seconds=12)
    assert [alert["where"] for alert in alerts(database_url)] == ["repositories"] * 2


async def test_renamed_classes_change_nothing(github: GitHub, replica: TrendingReplica, database_url: str) -> None:
    github.fail("renamed_classes")
    await replica.collect(MINUTE)
    assert not (await replica.answers.latest(DAILY)).is_stale
    assert (await readiness(replica))[0]
    assert alerts(database_url) == []


async def test_a_page_never_seen_well_is_answered_as_stale(github: GitHub, replica: TrendingReplica) -> None:
    github.fail("no_stars")
    await replica.collect(MINUTE)
    answer = await replica.answers.latest(DAILY)
    assert answer.is_stale
    assert answer.freshness.is_stale
    assert names(answer)
    github.heal()
    await replica.collect(20 * MINUTE)
    assert not (await replica.answers.latest(DAILY)).is_stale


async def test_one_empty_page_for_a_moment_is_told_to_nobody(
    github: GitHub, replica: TrendingReplica, database_url: str
) -> None:
    await replica.collect(MINUTE)
    github.fail("empty_trending", match="/trending?since=daily", count=1)
    await replica.collect(40 * MINUTE)
    assert replica.metric("trending_fetches_total", section="repositories", outcome="unreadable") == 1
    assert not (await replica.answers.latest(DAILY)).is_stale
    assert alerts(database_url) == []


async def test_24_hours_of_outage_are_answered_from_the_last_good_snapshot(
    github: GitHub, replica: TrendingReplica, database_url: str, clock: SimulatedClock
) -> None:
    await replica.store.ask([RUST])
    await replica.collect(2 * MINUTE)
    pages = [*configured_pages(""), RUST]
    before = {page: await replica.answers.latest(page) for page in pages}
    begun = clock.utc()
    github.fail("status", status=502)
    failed = 0
    for hour in range(1, 25):
        await replica.collect(HOUR, step_seconds=12)
        for page in pages:
            answer = await replica.answers.latest(page)
            failed += answer.rows != before[page].rows
            assert answer.is_stale
            assert answer.as_of == before[page].as_of
            age = clock.utc() - answer.as_of
            assert age.total_seconds() - 1 <= answer.age_seconds <= age.total_seconds() + 1
            assert timedelta(hours=hour) <= age <= timedelta(hours=hour, minutes=3)
            await replica.answers.note_asked()
    assert failed == 0
    # Seven pages, each tried again after 30 minutes at the longest; never more often than when all is well.
    in_outage = [at for at, _ in github.asked if at >= begun]
    assert 7 * 24 <= len(in_outage) <= 7 * 24 * 6
    github.heal()
    await replica.collect(40 * MINUTE)
    assert not [page for page in pages if (await replica.answers.latest(page)).is_stale]


@pytest.mark.parametrize(("seconds", "least"), [(7.0, 60), (900.0, 900)])
async def test_a_limit_of_github_gives_every_page_a_rest(
    github: GitHub, replica: TrendingReplica, seconds: float, least: int
) -> None:
    await replica.collect(8)
    github.fail("secondary_limit", variant="retry_after", seconds=seconds, count=1)
    await replica.collect(30 * MINUTE)
    limited = next(at for at, following in pairwise(github.asked) if (following[0] - at[0]).total_seconds() > 30)[0]
    next_at = next(at for at, _ in github.asked if at > limited)
    assert (next_at - limited).total_seconds() >= least


async def test_two_collectors_keep_the_pace_and_the_ten_minutes_together(
    github: GitHub, replica: TrendingReplica, database_url: str, clock: SimulatedClock
) -> None:
    async with trending_replica(github.url, database_url, clock) as other:
        for each in (replica, other):
            each.collector._holder = "both"  # two that each believe to be the one
        await replica.collect(HOUR, other)
    asked = github.asked
    assert len(asked) >= 6 * 4
    assert min(later - sooner for (sooner, _), (later, _) in pairwise(asked)) >= timedelta(seconds=5)
    by_page: dict[str, list[datetime]] = {}
    for at, page in asked:
        by_page.setdefault(page, []).append(at)
    assert Counter(map(len, by_page.values())).keys() <= {4, 5, 6}
    for moments in by_page.values():
        assert min(later - sooner for sooner, later in pairwise(moments)) >= timedelta(minutes=10)


async def test_a_clean_stop_lets_another_collect_at_once(
    github: GitHub, replica: TrendingReplica, database_url: str, clock: SimulatedClock
) -> None:
    async with trending_replica(github.url, database_url, clock) as other:
        await replica.collector.step()
        assert replica.metric("trending_collector_leading") == 1
        await other.collector.step()
        assert other.metric("trending_collector_leading") == 0
        await replica.collector.resign()
        clock.advance(2)
        await other.collector.step()
        assert other.metric("trending_collector_leading") == 1

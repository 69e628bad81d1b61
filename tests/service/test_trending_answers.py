"""Answers of trending pages: from the process's copy, from the store, by waiting for the collector, from GitHub itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from github_client.trending import answers as answers_module
from github_client.trending.page_key import PageKey
from github_client.trending.store import TrendingStore
from github_client.trending.stored import StoredPage, Unchanged
from service_kit.errors import Unavailable, UpstreamFault, UpstreamLimited
from tests.fakes.clock import START, SimulatedClock
from tests.fakes.trending_replica import TrendingReplica, trending_replica
from tests.fakes.upstream import ScriptedUpstream

SAMPLES = Path(__file__).parents[1] / "samples" / "trending"
PAGE = (SAMPLES / "repos_2026.html").read_bytes()
DAILY = PageKey("repositories", "daily")
RUST = PageKey("repositories", "daily", "rust")
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
async def github() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as started:
        started.answer("/trending", PAGE)
        yield started


@pytest.fixture
async def replica(github: ScriptedUpstream, database_url: str, clock: SimulatedClock) -> AsyncIterator[TrendingReplica]:
    async with trending_replica(github.url, database_url, clock, [DAILY]) as started:
        yield started


@pytest.fixture
async def alone(github: ScriptedUpstream, clock: SimulatedClock) -> AsyncIterator[TrendingReplica]:
    """One without a database."""
    async with trending_replica(github.url, NOWHERE, clock, [DAILY]) as started:
        yield started


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Which snapshot was known each time that the store was asked."""
    seen: list[int | None] = []
    latest = TrendingStore.latest

    async def counted(
        self: TrendingStore, key: PageKey, known_snapshot_id: int | None = None
    ) -> StoredPage | Unchanged | None:
        seen.append(known_snapshot_id)
        return await latest(self, key, known_snapshot_id)

    monkeypatch.setattr(TrendingStore, "latest", counted)
    return seen


async def test_a_copy_is_trusted_for_ten_seconds_and_then_asked_for_by_its_number(
    replica: TrendingReplica, clock: SimulatedClock, looks: list[int | None]
) -> None:
    await replica.collector.step()
    first = await replica.answers.latest(DAILY)
    clock.advance(10)
    assert await replica.answers.latest(DAILY) == first.__class__(
        first.rows, first.as_of, 10, first.is_stale, 890, first.snapshot_id
    )
    assert looks == [None]
    clock.advance(1)
    assert (await replica.answers.latest(DAILY)).age_seconds == 11
    assert looks == [None, first.snapshot_id]


async def test_many_who_ask_at_once_are_one_look_at_the_store(
    replica: TrendingReplica, looks: list[int | None]
) -> None:
    await replica.collector.step()
    found = await asyncio.gather(*(replica.answers.latest(DAILY) for _ in range(100)))
    assert len({answer.snapshot_id for answer in found}) == 1
    assert looks == [None]


async def test_lifetimes_say_when_the_next_round_is_due_and_that_a_page_is_old(
    replica: TrendingReplica, clock: SimulatedClock
) -> None:
    await replica.collector.step()
    told = []
    for seconds in (0, 300, 599, 901, 1):  # each later than the one before
        clock.advance(seconds)
        answer = await replica.answers.latest(DAILY)
        told.append((answer.age_seconds, answer.max_age_seconds, answer.is_stale, answer.freshness.cache_status))
    assert told == [
        (0, 900, False, "wegit; hit; ttl=900"),
        (300, 600, False, "wegit; hit; ttl=600"),
        (899, 60, False, "wegit; hit; ttl=60"),
        (1800, 60, False, "wegit; hit; ttl=60"),
        (1801, 60, True, "wegit; hit; ttl=-1"),
    ]
    assert answer.freshness.cache_control == "public, max-age=0, stale-while-revalidate=900, stale-if-error=86400"
    assert answer.as_of == START


async def test_a_page_that_nobody_asked_for_is_waited_for(
    replica: TrendingReplica, github: ScriptedUpstream, clock: SimulatedClock
) -> None:
    github.answer("/trending/rust", PAGE)
    await replica.collector.step()
    clock.advance(6)
    waiting = [asyncio.create_task(replica.answers.latest(RUST)) for _ in range(3)]
    async with asyncio.timeout(10):
        while not all(task.done() for task in waiting):
            await asyncio.sleep(0.01)
            await replica.collector.step()
    assert all(json.loads(task.result().rows) for task in waiting)
    assert [asked.target for asked in github.asked].count("/trending/rust?since=daily") == 1


async def test_who_leaves_does_not_stop_the_fetch_for_the_others(
    alone: TrendingReplica, github: ScriptedUpstream
) -> None:
    leaving = asyncio.create_task(alone.answers.latest(DAILY))
    staying = asyncio.create_task(alone.answers.latest(DAILY))
    await asyncio.sleep(0)
    leaving.cancel()
    assert json.loads((await staying).rows)
    assert leaving.cancelled()
    assert len(github.asked) == 1


async def test_a_page_that_github_does_not_give_is_a_fault_at_once(
    replica: TrendingReplica, github: ScriptedUpstream, clock: SimulatedClock
) -> None:
    github.answer("/trending/rust", b"", 500)
    await replica.store.ask([RUST])
    for _ in range(2):
        await replica.collector.step()
        clock.advance(6)
    with pytest.raises(UpstreamFault) as caught:
        async with asyncio.timeout(2):
            await replica.answers.latest(RUST)
    assert 0 < (caught.value.retry_after_seconds or 0) <= 40


async def test_without_a_collector_waiting_ends(replica: TrendingReplica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(Unavailable) as caught:
        await replica.answers.latest(RUST)
    assert caught.value.retry_after_seconds == 30


async def test_only_so_many_pages_are_waited_for(replica: TrendingReplica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers_module, "MOST_WAITED_FOR", 1)
    first = asyncio.create_task(replica.answers.latest(RUST))
    async with asyncio.timeout(5):
        while (await replica.store.health()).pages_known == 0:
            await asyncio.sleep(0.01)
    with pytest.raises(Unavailable, match="Too many"):
        await replica.answers.latest(PageKey("repositories", "daily", "go"))
    first.cancel()


async def test_without_postgres_a_page_is_fetched_once_and_kept(
    alone: TrendingReplica, github: ScriptedUpstream, clock: SimulatedClock
) -> None:
    found = await asyncio.gather(*(alone.answers.latest(DAILY) for _ in range(20)))
    assert {answer.snapshot_id for answer in found} == {0}
    [row, *_] = json.loads(found[0].rows)
    assert row["rank"] == 1
    assert {row[name] for name in ("first_seen", "streak_days", "best_rank", "rank_change", "is_new")} == {None}
    clock.advance(3600)
    assert (await alone.answers.latest(DAILY)).is_stale
    assert len(github.asked) == 1


async def test_without_postgres_this_process_keeps_a_pace(alone: TrendingReplica, github: ScriptedUpstream) -> None:
    alone.answers._interval_seconds = 3600
    github.answer("/trending/rust", PAGE)
    await alone.answers.latest(DAILY)
    second = asyncio.create_task(alone.answers.latest(RUST))
    await asyncio.sleep(0.2)
    assert not second.done()
    assert len(github.asked) == 1
    second.cancel()


async def test_without_postgres_a_limit_of_github_is_told(alone: TrendingReplica, github: ScriptedUpstream) -> None:
    github.answer("/trending/rust", b"", 429, {"Retry-After": "120"})
    for _ in range(2):
        with pytest.raises(UpstreamLimited) as caught:
            await alone.answers.latest(RUST)
        assert 119 <= (caught.value.retry_after_seconds or 0) <= 121
    assert len(github.asked) == 1


async def test_the_least_recently_asked_copies_go_first(
    alone: TrendingReplica, github: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_module, "MOST_COPIES", 2)
    for slug in ("go", "rust", "zig"):
        github.answer(f"/trending/{slug}", PAGE)
    for slug in ("go", "rust", "go", "zig", "go"):
        await alone.answers.latest(PageKey("repositories", "daily", slug))
    assert len(github.asked) == 3


async def test_what_is_asked_for_is_told_to_the_store_in_one_go(
    replica: TrendingReplica, clock: SimulatedClock
) -> None:
    await replica.collector.step()
    clock.advance(3600)
    for _ in range(5):
        await replica.answers.latest(DAILY)
    await replica.answers.note_asked()
    rows = await replica.database.fetch_all("select asked_at from trending_page")
    assert [asked_at for (asked_at,) in rows] == [clock.utc()]


async def test_what_is_asked_for_waits_for_postgres(alone: TrendingReplica) -> None:
    await alone.answers.latest(DAILY)
    await alone.answers.note_asked()
    assert alone.answers._asked == {DAILY}

"""The release watch, on a real Postgres and an imitation of GitHub: each new release is told once, old ones never."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from github_client.credentials import Credential
from github_client.quota import QuotaKeeper
from local.imitation_github import make_app
from local.imitation_github.credentials import OWNER_TOKEN, READER_TOKEN
from repo_service.release_watch import watcher as watching
from repo_service.release_watch.store import WatchStore
from repo_service.release_watch.watcher import ReleaseWatcher
from service_kit.client import open_session
from service_kit.database import Database
from service_kit.metrics import Metrics
from tests.fakes.replica import make_client
from tests.queue_database import QueueDatabase

READER = Credential("operator", "reader", READER_TOKEN, key=b"k")
OWNER = Credential("operator", "owner", OWNER_TOKEN, key=b"k")
LANTERN = "mira-tallow/lantern"
Client = TestClient[web.Request, web.Application]


class Watch:
    """A watcher, GitHub and the tables, put together as the service does."""

    def __init__(self, database_url: str, github: Client, stack: AsyncExitStack) -> None:
        self.github = github
        self.tables = QueueDatabase(database_url)
        self.metrics = Metrics()
        self.keeper = QuotaKeeper()
        self._url = database_url
        self._stack = stack

    async def watcher(self, *credentials: Credential) -> ReleaseWatcher:
        """One more replica's."""
        database = Database(SecretStr(self._url), "test")
        await database.open()
        self._stack.push_async_callback(database.close)
        session = await self._stack.enter_async_context(open_session(Metrics()))
        url = str(self.github.make_url("")).rstrip("/")
        client = make_client(session, url, *(credentials or (READER,)), keeper=self.keeper)
        return ReleaseWatcher(WatchStore(database), client, Metrics())

    def subscribe(self, repository: str, times: int = 1, state: str = "active") -> None:
        for _ in range(times):
            self.tables.rows(
                """with new as (insert into endpoint (channel, state) values ('webhook', %s) returning id)
                insert into subscription (endpoint_id, topic, repository)
                select id, 'release.published', %s from new""",
                (state, repository),
            )

    async def publish(self, tag: str, repository: str = LANTERN, **more: Any) -> int:
        answer = await self.github.post("/_imitation/releases", json={"repository": repository, "tag": tag, **more})
        assert answer.status == 201, await answer.text()
        number: int = (await answer.json())["id"]
        return number

    def due(self) -> None:
        """Let every repository be looked at now."""
        self.tables.rows("update watched_repository set next_look_at = now()")

    def told(self) -> list[dict[str, Any]]:
        """The bodies of all messages, oldest first."""
        return [row[0] for row in self.tables.rows("select body from message order by id")]

    def tags(self) -> list[str]:
        return [body["tag"] for body in self.told()]

    def watched(self, columns: str) -> list[tuple[Any, ...]]:
        return self.tables.rows(f"select {columns} from watched_repository order by repository")

    async def requests(self) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = await (await self.github.get("/_imitation/requests")).json()
        return seen


def a_second_ahead() -> datetime:
    """GitHub tells whole seconds, rounded down: what is published at once would be older than the watch."""
    return datetime.now(UTC) + timedelta(seconds=1)


@pytest.fixture
async def watch(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watch]:
    monkeypatch.setattr(watching, "FOLLOW_INTERVAL_SECONDS", 0.0)
    async with AsyncExitStack() as stack:
        github = await stack.enter_async_context(TestClient(TestServer(make_app(clock=a_second_ahead))))
        yield Watch(database_url, github, stack)


async def test_first_look_tells_nothing_old_and_a_new_release_is_told(watch: Watch) -> None:
    watcher = await watch.watcher()
    watch.subscribe(LANTERN)
    await watcher.step()
    assert watch.told() == []
    [(known,)] = watch.watched("known_release_ids")
    assert len(known) >= 5

    number = await watch.publish("v9.0.0", name="Nine", body="News", prerelease=True)
    watch.due()
    await watcher.step()

    [body] = watch.told()
    assert body.pop("published_at").endswith("Z")
    url = str(watch.github.make_url(f"/{LANTERN}/releases/tag/v9.0.0"))
    assert body == {
        "repository": LANTERN,
        "tag": "v9.0.0",
        "name": "Nine",
        "html_url": url,
        "prerelease": True,
        "excerpt": "News",
    }
    subject = f"release:{LANTERN}@{number}"
    assert watch.tables.rows("select topic, subject, dedup_key from message") == [
        ("release.published", subject, subject)
    ]


async def test_what_was_published_before_the_first_look_but_after_the_subscription_is_told(watch: Watch) -> None:
    watcher = await watch.watcher()
    watch.subscribe(LANTERN)
    watch.tables.rows("insert into watched_repository (repository, subscribers) values (%s, 1)", (LANTERN,))
    await watch.publish("v9.0.0")
    await watcher.step()

    assert watch.tags() == ["v9.0.0"]


async def test_release_is_told_once_however_often_it_is_seen(watch: Watch) -> None:
    watcher = await watch.watcher()
    watch.subscribe(LANTERN, times=3)
    await watcher.step()
    for tag in ("v9.0.0", "v9.0.1"):
        await watch.publish(tag)
        for _ in range(3):
            watch.due()
            await watcher.step()

    assert watch.tags() == ["v9.0.0", "v9.0.1"]


async def test_look_that_finds_nothing_new_costs_no_quota(watch: Watch) -> None:
    watcher = await watch.watcher()
    watch.subscribe(LANTERN)
    for _ in range(3):
        await watcher.step()
        watch.due()

    seen = await watch.requests()
    assert [one["status"] for one in seen] == [200, 304, 304]
    left = await (await watch.github.get("/rate_limit", headers=READER.headers())).json()
    assert left["resources"]["core"]["used"] == 1


async def test_draft_is_told_when_it_is_published_and_not_before(watch: Watch) -> None:
    watcher = await watch.watcher(OWNER)
    watch.subscribe(LANTERN)
    await watcher.step()
    await watch.publish("v9.0.0", draft=True)
    watch.due()
    await watcher.step()

    assert watch.told() == []


async def test_burst_longer_than_a_page_is_told_in_full_and_in_order(watch: Watch) -> None:
    watcher = await watch.watcher()
    watch.subscribe(LANTERN)
    await watcher.step()
    tags = [f"v9.0.{number}" for number in range(40)]
    for tag in tags:
        await watch.publish(tag)
    watch.due()
    await watcher.step()

    assert watch.tags() == tags


async def test_renamed_repository_goes_on_under_the_name_that_was_subscribed_to(watch: Watch) -> None:
    watcher = await watch.watcher()
    watch.subscribe("mira-tallow/old-lantern")
    await watcher.step()
    await watch.publish("v9.0.0")
    watch.due()
    await watcher.step()

    [body] = watch.told()
    assert body["repository"] == "mira-tallow/old-lantern"
    assert body["html_url"].endswith(f"/{LANTERN}/releases/tag/v9.0.0")


async def test_missing_repository_is_asked_for_later_each_time(watch: Watch) -> None:
    watcher = await watch.watcher()
    watch.subscribe("nobody/nothing")
    waits = []
    for _ in range(3):
        await watcher.step()
        [(wait, failures, error)] = watch.watched(
            "extract(epoch from next_look_at - now())::float, failures, last_error"
        )
        waits.append(round(wait / 60))
        watch.due()

    assert (waits, failures) == ([2, 4, 8], 3)
    assert "GitHub has no such thing" in error


async def test_private_repository_is_not_told_of_even_where_the_operator_sees_it(watch: Watch) -> None:
    watcher = await watch.watcher(OWNER)
    watch.subscribe("mira-tallow/private-ledger")
    await watcher.step()
    await watch.publish("v9.0.0", "mira-tallow/private-ledger")
    watch.due()
    await watcher.step()

    assert watch.told() == []
    assert watch.watched("failures") == [(1,)]


async def test_failing_github_is_asked_later_and_nothing_is_lost(watch: Watch) -> None:
    watcher = await watch.watcher()
    watch.subscribe(LANTERN)
    await watcher.step()
    await watch.publish("v9.0.0")
    for kind in ("status", "cut_body", "html_body"):
        await watch.github.post("/_imitation/faults", json={"kind": kind, "count": 2, "match": "/repos/"})
        watch.due()
        await watcher.step()
        await watch.github.delete("/_imitation/faults")
    assert (watch.told(), watch.watched("failures")) == ([], [(3,)])

    watch.due()
    await watcher.step()
    assert watch.tags() == ["v9.0.0"]
    assert watch.watched("failures, last_error") == [(0, None)]


async def test_watching_stops_while_only_the_people_s_share_of_the_quota_is_left(watch: Watch) -> None:
    watcher = await watch.watcher()
    watch.subscribe(LANTERN)
    now = asyncio.get_running_loop().time()
    told = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "900", "X-RateLimit-Reset": str(2**31)}
    watch.keeper.note_headers(READER, "core", told, now, 2**31 - 3600)

    assert await watcher.step() == watching.LONGEST_REST_SECONDS
    assert await watch.requests() == []
    assert watch.watched("failures, next_look_at <= now()") == [(0, True)]


async def test_popular_repositories_come_first_and_others_are_not_forgotten(watch: Watch) -> None:
    watcher = await watch.watcher()
    for repository, times in (("a/few", 1), ("b/many", 5), ("c/some", 3)):
        watch.subscribe(repository, times=times)
    for _ in range(3):
        await watcher.step()
    assert [one["path"] for one in await watch.requests()] == [
        f"/repos/{name}/releases" for name in ("b/many", "c/some", "a/few")
    ]

    watch.tables.rows("""update watched_repository
        set next_look_at = case repository when 'a/few' then now() - interval '1 hour' else now() end""")
    await watcher.step()
    assert (await watch.requests())[-1]["path"] == "/repos/a/few/releases"


async def test_two_watchers_never_look_at_one_repository_at_once(watch: Watch) -> None:
    watchers = [await watch.watcher() for _ in range(4)]
    for number in range(6):
        watch.subscribe(f"o/r{number}")
    await watchers[0]._store.follow()
    for _ in range(3):
        await asyncio.gather(*(watcher.step() for watcher in watchers))

    assert sorted(one["path"] for one in await watch.requests()) == [f"/repos/o/r{n}/releases" for n in range(6)]


async def test_look_that_took_too_long_changes_and_tells_nothing(watch: Watch) -> None:
    slow, quick = await watch.watcher(), await watch.watcher()
    watch.subscribe(LANTERN)
    await slow.step()
    await watch.publish("v9.0.0")
    watch.due()
    await watch.github.post("/_imitation/faults", json={"kind": "slow", "count": 1, "match": "/repos/"})
    late = asyncio.create_task(slow.step())
    while len(await watch.requests()) < 2:
        await asyncio.sleep(0.01)
    watch.due()
    await quick.step()
    [before] = watch.watched("next_look_at, known_release_ids")
    await watch.github.delete("/_imitation/faults")
    await late

    assert watch.tags() == ["v9.0.0"]
    assert watch.watched("next_look_at, known_release_ids") == [before]


async def test_repository_is_watched_for_as_long_as_somebody_is_told(watch: Watch) -> None:
    watcher = await watch.watcher()
    watch.subscribe(LANTERN, times=2)
    watch.subscribe("a/a", state="unconfirmed")
    await watcher.step()
    assert watch.watched("repository, subscribers") == [(LANTERN, 2)]

    watch.tables.rows("update endpoint set state = 'disabled'")
    await watcher.step()
    assert watch.watched("repository") == []


async def test_release_whose_row_cannot_be_moved_is_not_told_yet(watch: Watch) -> None:
    watcher = await watch.watcher()
    watch.subscribe(LANTERN)
    await watcher.step()
    await watch.publish("v9.0.0")
    watch.tables.rows("alter table fan_out add constraint refused check (message_id < 0)")
    watch.due()
    with pytest.raises(Exception, match="refused"):
        await watcher.step()
    assert watch.told() == []

    watch.tables.rows("alter table fan_out drop constraint refused")
    watch.due()
    await watcher.step()
    assert watch.tags() == ["v9.0.0"]

"""GitHub is away for a day: every page seen before is answered, marked as old, with its age; then all is fresh again.

Three replicas of each of the three services, asked over HTTP, on a simulated clock.
"""

import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import accumulate
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import structlog
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

import developer_service.app
import repo_service.app
import search_service.app
from github_client.cached_github import LONGEST_RETRY_SECONDS
from github_client.lifetimes import LIFETIMES, Kind
from github_client.service import CLOCK, GITHUB
from tests.fakes.changing_github import ChangingGitHub
from tests.fakes.clock import SimulatedClock
from tests.fakes.github_objects import developer, event, repository
from tests.fakes.waiting import until

REPLICAS = 3
MINUTE, HOUR = 60, 3600
OUTAGE_SECONDS = 24 * HOUR
NUMBER = 25
"""Of each kind of resource: 125 in all, which 225 pages show."""


class Page(NamedTuple):
    """A path of ours and the kind of what it shows."""

    service: ModuleType
    path: str
    kinds: tuple[Kind, ...]
    github_paths: tuple[str, ...]

    @property
    def is_original(self) -> bool:
        return not self.path.startswith("/v1/")

    @property
    def fresh_seconds(self) -> int:
        return min(LIFETIMES[kind].fresh_seconds for kind in self.kinds)


def pages() -> list[Page]:
    found = []
    for number in range(NUMBER):
        name, login = f"sample-{number}", f"made-up-{number}"
        repo, user = f"/repos/made-up/{name}", f"/users/{login}"
        both: tuple[tuple[Kind, ...], tuple[str, ...]] = ("repository", "readme"), (repo, f"{repo}/readme")
        search = f"/search/repositories?q={name}&page=1&per_page=30"
        events = f"{user}/received_events?page=1&per_page=30"
        found += [
            Page(repo_service.app, f"/v1/repositories/made-up/{name}", ("repository",), (repo,)),
            Page(repo_service.app, f"/repositories?owner=made-up&name={name}", *both),
            Page(repo_service.app, f"/v1/repositories/made-up/{name}/readme", ("readme",), (f"{repo}/readme",)),
            Page(developer_service.app, f"/v1/developers/{login}", ("developer",), (user,)),
            Page(developer_service.app, f"/developers?name={login}", ("developer",), (user,)),
            Page(developer_service.app, f"/developers/{login}/events?page=1", ("events",), (events,)),
            Page(developer_service.app, f"/v1/developers/{login}/received-events", ("events",), (events,)),
            Page(search_service.app, f"/v1/search/repositories?q={name}", ("search",), (search,)),
            Page(search_service.app, f"/search/repositories?name={name}", ("search",), (search,)),
        ]
    return found


PAGES = pages()


@pytest.fixture
async def github() -> AsyncIterator[ChangingGitHub]:
    async with ChangingGitHub() as started:
        put_all(started, 1)
        yield started


def put_all(github: ChangingGitHub, stars: int) -> None:
    """Let every resource be in another state."""
    for number in range(NUMBER):
        repo = repository(name=f"sample-{number}", stargazers_count=stars)
        github.put(f"/repos/made-up/sample-{number}", repo)
        github.put(f"/repos/made-up/sample-{number}/readme", f"# {stars}".encode())
        github.put(f"/users/made-up-{number}", developer(login=f"made-up-{number}", followers=stars))
        github.put(f"/users/made-up-{number}/received_events", [event(stars)])
    github.put("/search/repositories", {"total_count": 1, "incomplete_results": False, "items": [repository()]})


class Services:
    """The replicas of the services, and when GitHub last confirmed what any of them can have."""

    def __init__(self, github: ChangingGitHub, clock: SimulatedClock) -> None:
        self.github = github
        self.clock = clock
        self.clients: dict[ModuleType, list[TestClient[Any, Any]]] = {}

    async def start(self, stack: AsyncExitStack, database_url: str) -> None:
        for module in (repo_service.app, developer_service.app, search_service.app):
            for _ in range(REPLICAS):
                settings = module.Settings(
                    database_url=database_url,
                    secret_key="k" * 32,
                    github_api_url=self.github.url,
                    github_web_url="http://127.0.0.1:1",
                )
                app = module.make_app(settings)
                app[CLOCK] = self.clock
                client = await stack.enter_async_context(TestClient(TestServer(app)))
                self.clients.setdefault(module, []).append(client)

    async def ask(self, page: Page, replica: int) -> "Seen":
        response = await self.clients[page.service][replica].get(page.path)
        return await read(page, response, self.clock.utc())

    async def settle(self) -> None:
        """Wait for what goes on behind the answers."""
        every = [client.app[GITHUB] for clients in self.clients.values() for client in clients if client.app]
        await until(lambda: not any(cached._tasks for cached in every))

    @property
    def calls(self) -> int:
        return len(self.github.asked)


class Seen(NamedTuple):
    """What an answer says of its age."""

    status: int
    is_stale: bool
    as_of: datetime
    seconds_left: float


async def read(page: Page, response: ClientResponse, now: datetime) -> Seen:
    body = await response.json()
    cache_status = response.headers.get("Cache-Status", "")
    as_of = parsedate_to_datetime(response.headers["Last-Modified"])
    if match := re.fullmatch(r"wegit; hit; ttl=(-?\d+)", cache_status):
        seconds_left = int(match[1])
    else:
        assert cache_status == "wegit; fwd=miss"
        seconds_left = page.fresh_seconds
    is_stale = seconds_left < 0
    if page.is_original:
        assert "meta" not in body
    else:
        assert body["meta"]["stale"] == is_stale
        assert datetime.fromisoformat(body["meta"]["as_of"]).replace(microsecond=0) == as_of
    assert response.headers["Cache-Control"].startswith(f"public, max-age={max(seconds_left, 0)}, ")
    assert "stale-if-error=86400" in response.headers["Cache-Control"]
    assert as_of <= now
    return Seen(response.status, is_stale, as_of, seconds_left)


async def test_a_day_without_github_leaves_no_page_blank(github: ChangingGitHub, database_url: str) -> None:
    clock, chance = SimulatedClock(datetime(2026, 11, 20, 12, tzinfo=UTC)), random.Random(7)
    popularity = list(accumulate(1 / rank for rank in range(1, len(PAGES) + 1)))
    shuffled = chance.sample(PAGES, len(PAGES))
    services = Services(github, clock)
    async with AsyncExitStack() as stack:
        events = stack.enter_context(structlog.testing.capture_logs())
        await services.start(stack, database_url)
        for page in PAGES:
            assert (await services.ask(page, chance.randrange(REPLICAS))).status == 200
        await services.settle()
        began, calls_before = clock.utc(), services.calls

        github.status = 502
        told: Counter[str] = Counter()
        while (outage_seconds := (clock.utc() - began).total_seconds()) < OUTAGE_SECONDS:
            for _ in range(15):
                [page] = chance.choices(shuffled, cum_weights=popularity)
                seen = await services.ask(page, chance.randrange(REPLICAS))
                assert (seen.status, seen.as_of) == (200, began), page.path
                if page.kinds != ("repository", "readme"):
                    assert seen.seconds_left == page.fresh_seconds - outage_seconds
                assert seen.is_stale == (outage_seconds > page.fresh_seconds), page.path
                told[f"{page.kinds[-1]} {'stale' if seen.is_stale else 'fresh'}"] += 1
            await services.settle()
            clock.advance(chance.choice([7, 31, 240, 700, 1800, 3600]))
        assert all(told[f"{kind} stale"] > 20 for kind in LIFETIMES if kind != "caller"), told
        newcomers = Services(github, clock)
        await newcomers.start(stack, database_url)
        for page in chance.sample(PAGES, 50):
            seen = await newcomers.ask(page, chance.randrange(REPLICAS))
            assert (seen.status, seen.is_stale, seen.as_of) == (200, True, began), page.path
        await newcomers.settle()

        resources = {path for page in PAGES for path in page.github_paths}
        tries = services.calls - calls_before
        assert 0 < tries < sum(told.values()), "not each request asks"

        put_all(github, 2)
        github.status = None
        clock.advance(LONGEST_RETRY_SECONDS)
        calls_before = services.calls
        for page in PAGES:
            for replica in range(REPLICAS):
                assert (await services.ask(page, replica)).status == 200
        await services.settle()
        assert services.calls - calls_before <= 1.1 * len(resources), "no storm"
        for page in PAGES:
            for replica in range(REPLICAS):
                seen = await services.ask(page, replica)
                assert not seen.is_stale, page.path
                assert seen.as_of >= clock.utc() - timedelta(seconds=MINUTE)
        assert not [event for event in events if event["log_level"] in {"error", "critical"}]

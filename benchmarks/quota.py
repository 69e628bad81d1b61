"""What answering costs in points of GitHub's quota: six hours of demand on a simulated clock, three replicas."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from itertools import groupby
from operator import attrgetter

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler

from benchmarks.demand import Request, draw_demand, visible_changes, visible_changes_once_in, zipf
from benchmarks.system import Ground
from benchmarks.table import format_table, say
from github_client.cached_github import CachedGitHub
from github_client.credentials import Credential
from github_client.lifetimes import LIFETIMES
from github_client.rest import fetch_repository
from local.imitation_github.app import SEED, make_app
from local.imitation_github.creation import make_world
from local.imitation_github.credentials import READER_TOKEN
from local.imitation_github.pulse import pushed_at, updated_at
from local.imitation_github.state import STATE, State
from local.imitation_github.world import Repository, World
from service_kit.errors import ServiceError
from tests.fakes.clock import START, SimulatedClock
from tests.fakes.replica import replica

REQUESTS, REPOSITORIES, REPLICAS = 100_000, 5_000, 3
EXPONENT = 1.1
SECONDS, STEP_SECONDS = 6 * 3600, 2
"""The requests of one step come at once."""
SEED_OF_DEMAND = 3
AIM = 1.1
COLUMNS = ("way", "points", "of the bound", "of the bound in steps")


async def measure_quota(ground: Ground) -> str:
    """Two tables: points spent beside bounds, and what callers got. The same each time: seeded, and no real time in it.

    The replicas are three CachedGitHub in this process, each with its own MemoryCache, client and connections, on one
    real Postgres. GitHub is the imitation with a world of 5,000 repositories, on the same clock; the most starred
    are asked for most. Renewals behind an answer are waited for before time goes on.
    """
    repositories = _repositories()
    demand = draw_demand(
        seed=SEED_OF_DEMAND,
        count=REQUESTS,
        shares=zipf(EXPONENT, REPOSITORIES),
        seconds=SECONDS,
        step_seconds=STEP_SECONDS,
        replicas=REPLICAS,
    )
    async with ground.running_postgres() as database_url, AsyncExitStack() as stack:
        clock = SimulatedClock()
        github = _CountingGitHub(repositories, clock)
        await stack.enter_async_context(github.server)
        operator = Credential("operator", "operator", READER_TOKEN)
        replicas = [
            await stack.enter_async_context(
                replica(str(github.server.make_url("/"))[:-1], database_url, clock, operator)
            )
            for _ in range(REPLICAS)
        ]
        answered = await _ask_all(demand, repositories, replicas, clock)
    return _format(demand, repositories, github.statuses, answered)


async def _ask_all(
    demand: list[Request], repositories: list[Repository], replicas: list[CachedGitHub], clock: SimulatedClock
) -> Counter[str]:
    answered: Counter[str] = Counter()
    started = time.perf_counter()
    elapsed_seconds = 0
    for at, requests in groupby(demand, attrgetter("seconds")):
        if at // 1800 > elapsed_seconds // 1800:
            say(f"quota: {at / 3600:g} of {SECONDS / 3600:g} h, after {time.perf_counter() - started:.0f} s")
        clock.advance(at - elapsed_seconds)
        elapsed_seconds = at
        outcomes = await asyncio.gather(
            *(_ask(replicas[one.replica], repositories[one.resource], clock) for one in requests)
        )
        answered.update(outcomes)
        for cached in replicas:
            while cached._tasks:  # nothing else waits for them, and in a service nothing should
                await asyncio.wait(cached._tasks)
    return answered


async def _ask(cached: CachedGitHub, repository: Repository, clock: SimulatedClock) -> str:
    try:
        answer = await fetch_repository(cached, repository.owner.login, repository.name, None)
    except ServiceError as error:
        return f"failed: {error.code}"
    as_of = answer.freshness.as_of
    assert as_of is not None
    return "as GitHub has it" if _version(repository, as_of) == _version(repository, clock.utc()) else "older"


class _CountingGitHub:
    """The imitation with a world of exactly these repositories; it counts its answers by status."""

    def __init__(self, repositories: list[Repository], clock: SimulatedClock) -> None:
        self.statuses: Counter[int] = Counter()
        app = make_app(clock=clock.utc)
        app[STATE] = State(World(SEED, app[STATE].world.accounts, repositories), clock.utc)
        app.middlewares.insert(0, self._count)
        self.server = TestServer(app)

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        self.statuses[response.status] += 1
        return response


def _repositories() -> list[Repository]:
    """As many public ones as wanted, the most starred first: those of the usual world, under several names each."""
    usual = [repository for repository in make_world(SEED).repositories if not repository.private]
    copies = [
        replace(repository, id=repository.id + turn * 1_000_000_007, name=f"{repository.name}-{turn}")
        for turn in range(-(-REPOSITORIES // len(usual)))
        for repository in usual
    ]
    return sorted(copies[:REPOSITORIES], key=lambda repository: -repository.stars)


def _version(repository: Repository, now: datetime) -> tuple[datetime, datetime]:
    """All of the imitation's answer that changes with time: stars move with `updated_at`."""
    return updated_at(repository, now), pushed_at(repository, now)


def _format(
    demand: list[Request], repositories: list[Repository], statuses: Counter[int], answered: Counter[str]
) -> str:
    lifetime_seconds = LIFETIMES["repository"].fresh_seconds

    @cache
    def version_at(resource: int, seconds: int) -> tuple[datetime, datetime]:
        return _version(repositories[resource], START + timedelta(seconds=seconds))

    asked_for = len({request.resource for request in demand})
    bound = visible_changes(demand, version_at)
    bound_in_steps = visible_changes_once_in(demand, version_at, lifetime_seconds)
    alone = sum(
        visible_changes_once_in([one for one in demand if one.replica == place], version_at, lifetime_seconds)
        for place in range(REPLICAS)
    )
    spent = statuses.total() - statuses[304]
    ways = {
        "one call per request, as the original": len(demand),
        f"{REPLICAS} replicas with copies of their own alone": alone,
        f"WeGit, {REPLICAS} replicas": spent,
        "bound: each once, and each change somebody could see": bound,
        f"bound in steps: the same, asked at most every {lifetime_seconds} s": bound_in_steps,
        f"each of the {asked_for} repositories asked for, once": asked_for,
    }
    points = format_table(
        f"Quota: {len(demand)} requests, Zipf({EXPONENT}), {len(repositories)} repositories, {SECONDS / 3600:g} h;"
        f" aim: {AIM} of the bound",
        COLUMNS,
        [[way, str(cost), f"{cost / bound:.3f}", f"{cost / bound_in_steps:.3f}"] for way, cost in ways.items()],
    )
    asked = format_table(
        "What GitHub was asked, by its answer",
        ("answer", "times", "of the requests"),
        [[str(status), str(times), f"{times / len(demand):.3f}"] for status, times in sorted(statuses.items())],
    )
    got = format_table(
        "What callers got, beside what GitHub would have said at that moment",
        ("answer", "times", "of the requests"),
        [[outcome, str(times), f"{times / len(demand):.4f}"] for outcome, times in sorted(answered.items())],
    )
    return "\n".join([points, asked, got])

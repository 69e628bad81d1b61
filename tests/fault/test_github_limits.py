"""GitHub limits: recorded limits are obeyed, no limited credential is asked again, and replicas know what one has learnt."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing, suppress
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psycopg2
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from multidict import CIMultiDict
from pydantic import SecretStr

import repo_service.app
from github_client.client import GitHubClient
from github_client.credentials import Credential, OperatorCredentials
from github_client.quota import QuotaKeeper
from github_client.quota_exchange import QuotaExchange
from github_client.service import CLOCK
from service_kit.client import open_session
from service_kit.database import Database
from service_kit.errors import Unavailable, UpstreamLimited
from service_kit.metrics import Metrics
from service_kit.tasks import running
from tests.fakes.clock import SimulatedClock
from tests.fakes.github_objects import repository
from tests.fakes.replica import make_client
from tests.fakes.upstream import ScriptedUpstream
from tests.fakes.waiting import until
from tests.throwaway_postgres import ThrowawayPostgres

RECORDINGS = Path(os.environ["RECORDINGS_DIR"], "rest") if os.environ.get("RECORDINGS_DIR") else None
FIRST, SECOND = (Credential("operator", name, f"ghp_{name}") for name in ("first", "second"))
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def github() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as started:
        yield started


def recorded_limits() -> list[Any]:
    """Status, headers and body of every limit in the recordings."""
    if RECORDINGS is None:
        return [pytest.param(None, marks=pytest.mark.skip(reason="RECORDINGS_DIR names no folder of recordings"))]
    found: list[Any] = []
    for file in sorted(RECORDINGS.glob("err_4[02][39]_*.json")):
        found += [
            pytest.param(exchange, id=file.stem.removeprefix("err_"))
            for exchange in json.loads(file.read_text())["exchanges"]
            if exchange["status"] in {403, 429} and "useragent" not in file.stem
        ]
    assert len(found) > 5
    return found


@pytest.mark.parametrize("exchange", recorded_limits())
async def test_a_recorded_limit_rests_the_credential_until_its_time_has_come(
    github: ScriptedUpstream, exchange: dict[str, Any]
) -> None:
    own = {"date", "content-length", "transfer-encoding", "content-encoding", "connection", "server"}
    headers = {name: str(value) for name, value in exchange["headers"].items() if name.lower() not in own}
    body = exchange["body"] if isinstance(exchange["body"], str) else json.dumps(exchange["body"])
    github.answer("/users/made-up", body.encode(), exchange["status"], headers)
    github.answer("/users/made-up", {})
    clock = SimulatedClock()
    async with open_session(Metrics()) as session:
        client = make_client(session, github.url, FIRST, clock=clock)
        for _ in range(10):
            with pytest.raises(UpstreamLimited) as caught:
                await client.get("/users/made-up", caller=None)
        seconds = caught.value.retry_after_seconds
        stated = CIMultiDict(headers).get("Retry-After", "60")
        assert seconds is not None
        assert seconds >= (int(stated) if stated.isdigit() else 1)
        assert len(github.asked) == 1
        clock.advance(seconds)
        await client.get("/users/made-up", caller=None)


async def test_retry_after_may_be_a_date(github: ScriptedUpstream) -> None:
    clock = SimulatedClock()
    until = format_datetime(clock.utc().replace(hour=clock.utc().hour + 1), usegmt=True)
    headers = {"Retry-After": until, "Date": format_datetime(clock.utc(), usegmt=True)}
    github.answer("/users/made-up", {}, 403, headers)
    async with open_session(Metrics()) as session:
        with pytest.raises(UpstreamLimited) as caught:
            await make_client(session, github.url, FIRST, clock=clock).get("/users/made-up", caller=None)
    assert caught.value.retry_after_seconds in {3600, 3601}


async def test_with_every_budget_spent_nobody_is_asked_and_the_answer_says_when(
    github: ScriptedUpstream, aiohttp_client: Callable[[web.Application], Awaitable[Client]]
) -> None:
    clock = SimulatedClock()
    reset = str(int(clock.utc().timestamp()) + 1200)
    spent = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
    spent |= {"Date": format_datetime(clock.utc(), usegmt=True)}
    for _ in range(2):
        github.answer("/repos/made-up/sample", {"message": "API rate limit exceeded"}, 403, spent)
    github.answer("/repos/made-up/sample", repository())
    app = repo_service.app.make_app(
        repo_service.app.Settings(
            database_url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"),
            secret_key=SecretStr("k" * 40),
            github_api_url=github.url,
            github_web_url=github.url,
            github_tokens=SecretStr("ghp_one,ghp_two"),
            port=8081,
        )
    )
    app[CLOCK] = clock
    client = await aiohttp_client(app)
    for _ in range(5):
        response = await client.get("/v1/repositories/made-up/sample")
        problem = await response.json()
        assert (response.status, problem["code"]) == (503, "upstream_quota_exhausted")
        assert 1190 < problem["retry_after"] <= 1201
        assert response.headers["Retry-After"] == str(problem["retry_after"])
    assert len([one for one in github.asked if one.target.startswith("/repos")]) == 2
    clock.advance(1201)
    assert (await client.get("/v1/repositories/made-up/sample")).status == 200


class Replica(NamedTuple):
    client: GitHubClient
    keeper: QuotaKeeper
    exchange: QuotaExchange
    clock: SimulatedClock


class Start(Protocol):
    async def __call__(self, database_url: str, clock: SimulatedClock | None = None) -> Replica: ...


class WrongClock(SimulatedClock):
    """A service's clock that is wrong by hours, while the database has its own."""

    def for_sql(self) -> None:
        return None


@pytest.fixture
async def start(github: ScriptedUpstream) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def another(database_url: str, clock: SimulatedClock | None = None) -> Replica:
            database = Database(SecretStr(database_url), "test")
            await database.open()
            stack.push_async_callback(database.close)
            session = await stack.enter_async_context(open_session(Metrics()))
            clock, keeper = clock or SimulatedClock(), QuotaKeeper()
            client = make_client(session, github.url, FIRST, SECOND, clock=clock, keeper=keeper)
            credentials = OperatorCredentials([FIRST, SECOND])
            return Replica(client, keeper, QuotaExchange(database, keeper, credentials, clock), clock)

        yield another


async def test_what_one_replica_learns_of_a_limit_the_others_know_within_a_second(
    github: ScriptedUpstream, database_url: str, start: Start
) -> None:
    one, other = await start(database_url), await start(database_url)
    for _ in range(2):
        github.answer("/users/made-up", {}, 403, {"X-RateLimit-Remaining": "0"})
    github.answer("/users/made-up", {})
    async with running("one", one.exchange.run), running("other", other.exchange.run):
        with pytest.raises(UpstreamLimited):
            await one.client.get("/users/made-up", caller=None)
        await until(lambda: all(any(b.rests_until for b in other.keeper.known(c).values()) for c in (FIRST, SECOND)), 1)
        with pytest.raises(UpstreamLimited):
            await other.client.get("/users/made-up", caller=None)
    assert len(github.asked) == 2, "one call with each credential, all of the first replica"


async def test_budgets_are_told_as_ages_and_less_is_believed(
    github: ScriptedUpstream, database_url: str, start: Start
) -> None:
    clock = WrongClock()
    clock.advance(30 * 3600)
    one, other = await start(database_url, WrongClock()), await start(database_url, clock)
    for remaining in ("40", "70"):
        soon = str(int(SimulatedClock().utc().timestamp()) + 600)
        told = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": soon}
        github.answer(
            "/users/made-up", {}, headers=told | {"Date": format_datetime(SimulatedClock().utc(), usegmt=True)}
        )
    credential = (await one.client.get("/users/made-up", caller=None)).credential
    await one.exchange.exchange()
    await other.exchange.exchange()
    known = other.keeper.known(credential)["core"]
    assert known.remaining == 40
    assert 590 < known.reset - other.clock.seconds() <= 600
    await other.client.get("/users/made-up", caller=None)  # is told 70, an older answer
    assert other.keeper.known(credential)["core"].remaining == 39


async def test_back_off_is_shared_and_forgotten_after_a_quiet_hour(
    github: ScriptedUpstream, database_url: str, start: Start
) -> None:
    clock = SimulatedClock()
    one, other = await start(database_url, clock), await start(database_url, clock)
    github.answer("/users/made-up", {"message": "You have exceeded a secondary rate limit."}, 403)
    waits = []
    for replica in (one, other, one, other):
        for each in (one, other):
            await each.exchange.exchange()
        # Whichever of the two credentials: both have rested equally often, and long.
        for _ in range(2):
            with pytest.raises(UpstreamLimited) as caught:
                await replica.client.get("/users/made-up", caller=None)
            waits.append(caught.value.retry_after_seconds)
            await replica.exchange.exchange()
        clock.advance(4000 if replica is other else 60)  # long enough to be quiet, or not
    assert waits == [60, 60, 120, 120, 60, 60, 120, 120]


async def test_while_postgres_is_away_each_goes_by_what_it_knows_and_tells_it_later(
    github: ScriptedUpstream, own_postgres: ThrowawayPostgres, start: Start
) -> None:
    one, other = await start(own_postgres.url), await start(own_postgres.url)
    await one.exchange.exchange()
    own_postgres.stop()
    github.answer("/users/made-up", {}, 429, {"Retry-After": "500"})
    for _ in range(3):
        with pytest.raises(UpstreamLimited):
            await one.client.get("/users/made-up", caller=None)
        with pytest.raises(Unavailable):
            await one.exchange.exchange()
    assert len(github.asked) == 2, "one call with each credential"
    async with running("one", one.exchange.run):
        own_postgres.start()
        async with asyncio.timeout(10):
            while not all(other.keeper.known(one) for one in (FIRST, SECOND)):
                await asyncio.sleep(0.05)
                with suppress(Unavailable):
                    await other.exchange.exchange()
        with pytest.raises(UpstreamLimited):
            await other.client.get("/users/made-up", caller=None)
        assert len(github.asked) == 2, "none by the other replica"


async def test_a_revoked_credential_is_used_no_more_and_told_of_once(
    github: ScriptedUpstream,
    database_url: str,
    aiohttp_client: Callable[[web.Application], Awaitable[Client]],
) -> None:
    github.answer("/rate_limit", {"message": "Bad credentials"}, 401)
    for n in range(10):
        github.answer(f"/repos/made-up/sample-{n}", repository(id=n))
    settings = repo_service.app.Settings(
        database_url=SecretStr(database_url),
        secret_key=SecretStr("k" * 40),
        github_api_url=github.url,
        github_web_url=github.url,
        github_tokens=SecretStr("ghp_revoked"),
        port=8081,
    )
    replicas = [await aiohttp_client(repo_service.app.make_app(settings)) for _ in range(2)]
    async with asyncio.timeout(10):
        while not alerts(database_url):
            await asyncio.sleep(0.05)
    for n, client in enumerate(replicas * 3):
        response = await client.get(f"/v1/repositories/made-up/sample-{n}")
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 3000
    assert not any("/repos" in one.target for one in github.asked)
    [message] = alerts(database_url)
    assert message["error"] == "CredentialRefused"
    assert "ghp_revoked" not in json.dumps(message)


async def test_a_refused_credential_is_tried_at_no_cost_before_anybody_relies_on_it_again(
    github: ScriptedUpstream,
) -> None:
    for _ in range(2):
        github.answer("/rate_limit", {"message": "Bad credentials"}, 401)
    github.answer("/rate_limit", {})
    github.answer("/users/made-up", {})
    clock, checked = SimulatedClock(), set[str]()
    async with open_session(Metrics()) as session:
        client = make_client(session, github.url, FIRST, clock=clock)
        asked, answered = [], []
        for _ in range(60 * 3):
            await client.check_operator_credentials(checked)
            try:
                await client.get("/users/made-up", caller=None)
                answered.append(clock.seconds())
            except UpstreamLimited:
                pass
            asked.append(len([one for one in github.asked if one.target == "/rate_limit"]))
            clock.advance(60)
    assert asked[:57] == [1] * 57
    assert asked[60:110] == [2] * 50, "refused again"
    began = SimulatedClock().seconds()
    assert 7000 < answered[0] - began < 7300
    assert answered[-1] - began == 60 * (60 * 3 - 1)


async def test_metrics_tell_what_is_left_and_what_rests(
    github: ScriptedUpstream, aiohttp_client: Callable[[web.Application], Awaitable[Client]]
) -> None:
    left = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4321", "X-RateLimit-Reset": "9999999999"}
    github.answer("/rate_limit", {}, headers=left | {"X-RateLimit-Resource": "core"})
    github.answer("/repos/made-up/sample", {}, 429, {"Retry-After": "500"})
    settings = repo_service.app.Settings(
        database_url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"),
        secret_key=SecretStr("k" * 40),
        github_api_url=github.url,
        github_web_url=github.url,
        github_tokens=SecretStr("ghp_one"),
        port=8081,
    )
    client = await aiohttp_client(repo_service.app.make_app(settings))
    async with asyncio.timeout(10):
        while not github.asked:
            await asyncio.sleep(0.05)
    for _ in range(2):
        assert (await client.get("/v1/repositories/made-up/sample")).status == 503
    shown = await (await client.get("/metrics")).text()
    values = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in shown.splitlines() if line[0] != "#"}
    assert values['github_quota_remaining{bucket="core",credential="GITHUB_TOKENS[0]"}'] in {4320, 4321}
    assert 490 < values['github_credential_resting_seconds{bucket="*",credential="GITHUB_TOKENS[0]"}'] <= 500
    assert values['github_calls_total{outcome="secondary",purpose="people"}'] == 1
    assert values['github_calls_total{outcome="withheld_limited",purpose="people"}'] >= 1
    assert "ghp_one" not in shown


def alerts(database_url: str) -> list[dict[str, Any]]:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("select body from message where topic = 'alert'")
        return [body for (body,) in cursor.fetchall()]

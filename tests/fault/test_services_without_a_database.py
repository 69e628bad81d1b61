"""A data service lives without Postgres: it starts, answers, says what is degraded, keeps its alerts, and recovers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from repo_service.app import Settings, make_app
from service_kit.database import DATABASE, DatabaseUnavailable
from tests.fakes.github_objects import repository
from tests.fakes.upstream import ScriptedUpstream
from tests.throwaway_postgres import ThrowawayPostgres

SAMPLES = Path(__file__).parents[1] / "samples" / "trending"
Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def github() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as started:
        started.answer("/repos/made-up/sample", repository())
        started.answer("/trending", (SAMPLES / "repos_2026.html").read_bytes())
        started.answer("/trending/developers", (SAMPLES / "devs_2026.html").read_bytes())
        yield started


async def fail(_request: web.Request) -> web.Response:
    raise RuntimeError("no luck with token=S3cret")


async def start(
    aiohttp_client: Callable[[web.Application], Awaitable[Client]], url: str, github: ScriptedUpstream
) -> Client:
    settings = Settings(database_url=url, secret_key="k" * 32, github_api_url=github.url, github_web_url=github.url)  # type: ignore[arg-type]
    app = make_app(settings)
    app.router.add_get("/fail", fail)
    return await aiohttp_client(app)


async def degraded(client: Client) -> list[str]:
    response = await client.get("/health/ready")
    assert response.status == 200
    names: list[str] = (await response.json())["degraded"]
    return names


async def test_a_service_starts_and_answers_while_postgres_is_away(
    aiohttp_client: Callable[[web.Application], Awaitable[Client]], github: ScriptedUpstream
) -> None:
    client = await start(aiohttp_client, "postgresql://nobody@127.0.0.1:1/nothing", github)
    assert (await client.get("/v1/repositories/made-up/sample")).status == 200
    assert await degraded(client) == ["database"]


async def test_alerts_wait_for_postgres_and_arrive_once_with_their_count(
    aiohttp_client: Callable[[web.Application], Awaitable[Client]],
    github: ScriptedUpstream,
    own_postgres: ThrowawayPostgres,
) -> None:
    client = await start(aiohttp_client, own_postgres.url, github)
    assert await degraded(client) == []
    await asyncio.to_thread(own_postgres.kill)
    for _ in range(5):
        assert (await client.get("/fail")).status == 500
        assert (await client.get("/v1/repositories/made-up/sample")).status == 200
    assert await degraded(client) == ["database"]
    await asyncio.to_thread(own_postgres.start)
    async with asyncio.timeout(20):
        while await count_of_alerts(client) < 5:
            await asyncio.sleep(0.1)
    assert await count_of_alerts(client) == 5
    assert await degraded(client) == []
    [(body,)] = await client.app[DATABASE].fetch_all("select distinct body::text from message")
    assert "RuntimeError" in body
    assert "S3cret" not in body


async def count_of_alerts(client: Client) -> int:
    assert client.app is not None
    try:
        row = await client.app[DATABASE].fetch_one("select coalesce(sum(occurrences), 0) from message")
    except DatabaseUnavailable:
        return 0
    return int(row[0]) if row else 0

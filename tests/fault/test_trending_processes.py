"""Trending pages while Postgres stops under load, and while the process that collects is killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from github_client.clock import Clock
from github_client.trending import answers
from github_client.trending.page_key import PageKey
from github_client.trending.store import TrendingStore
from local.imitation_github.app import make_app as make_github
from local.imitation_github.state import STATE
from local.stack import free_ports
from repo_service.app import Settings, make_app
from service_kit.database import Database
from tests.throwaway_postgres import ThrowawayPostgres

Client = TestClient[web.Request, web.Application]
PERIODS = ("daily", "weekly", "monthly")


@pytest.fixture
async def github() -> AsyncIterator[TestServer]:
    server = TestServer(make_github())
    await server.start_server()
    yield server
    await server.close()


def url_of(github: TestServer) -> str:
    return str(github.make_url("")).rstrip("/")


async def until(is_so: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await is_so():
            await asyncio.sleep(0.05)


async def test_postgres_stops_and_starts_under_load_and_no_page_seen_before_fails(
    aiohttp_client: Callable[[web.Application], Awaitable[Client]],
    github: TestServer,
    own_postgres: ThrowawayPostgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "TRUSTED_SECONDS", 0.0)  # every request asks the store
    settings = Settings(
        database_url=SecretStr(own_postgres.url),
        secret_key=SecretStr("k" * 32),
        github_api_url=url_of(github),
        github_web_url=url_of(github),
        trending_interval_seconds=0.05,
    )
    client = await aiohttp_client(make_app(settings))
    paths = [
        f"{path}?since={since}" for path in ("/v1/trending/repositories", "/trending-repositories") for since in PERIODS
    ]
    seen = {path: await (await client.get(path)).json() for path in paths}
    assert all(seen.values())
    failed: list[tuple[str, int]] = []
    answered = 0
    is_over = False

    async def load(path: str) -> None:
        nonlocal answered
        while not is_over:
            response = await client.get(path)
            if response.status != 200 or not await response.json():
                failed.append((path, response.status))
            answered += 1

    async with asyncio.TaskGroup() as tasks:
        for path in paths:
            tasks.create_task(load(path))
        for end in (own_postgres.stop, own_postgres.kill):
            await asyncio.sleep(0.5)
            before = answered
            await asyncio.to_thread(end)
            await asyncio.sleep(3)
            assert answered > before + 100
            await asyncio.to_thread(own_postgres.start)
        await asyncio.sleep(3)
        is_over = True
    assert failed == []


async def test_a_killed_collector_is_replaced_within_20_seconds(github: TestServer, database_url: str) -> None:
    database = Database(SecretStr(database_url), "test")
    await database.open()
    store = TrendingStore(database, Clock())
    ledger = github.app[STATE].log

    async def holder() -> int:
        row = await database.fetch_one("select holder from trending_collector where lease_until > now()")
        return int(row[0].split("/")[1]) if row else 0

    async def asked(path: str) -> bool:
        return any(entry["path"] == path for entry in ledger)

    with ExitStack() as stack:
        ports = free_ports(2)
        processes = [
            stack.enter_context(service(name, port, url_of(github), database_url))
            for name, port in zip(("repo_service", "developer_service"), ports, strict=True)
        ]
        try:
            await until(lambda: asked("/trending/developers"), 30)
            first = await holder()
            assert first in [process.pid for process in processes]
            os.kill(first, signal.SIGKILL)
            await store.ask([PageKey("repositories", "daily", "zig")], waiting=True)
            await until(lambda: asked("/trending/zig"), 20)
            assert await holder() in {process.pid for process in processes} - {first}
        finally:
            for process in processes:
                process.terminate()
    await database.close()


def service(name: str, port: int, github_url: str, database_url: str) -> "subprocess.Popen[bytes]":
    kept = {
        key: value for key, value in os.environ.items() if key in {"PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV"}
    }
    environment = {
        **kept,
        "PORT": str(port),
        "DATABASE_URL": database_url,
        "SECRET_KEY": "k" * 32,
        "GITHUB_API_URL": github_url,
        "GITHUB_WEB_URL": github_url,
        "TRENDING_INTERVAL_SECONDS": "0.2",
    }
    return subprocess.Popen(
        [sys.executable, "-m", name], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

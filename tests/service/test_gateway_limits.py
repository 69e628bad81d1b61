"""Limits at the gateway's door as callers meet them: whose requests count, for what, and what the refused are told."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDictProxy

from gateway.admission import CALLER_LIMIT
from gateway.routes import Service
from tests.fakes.running_gateway import RunningGateway, plain_session, running_gateway
from tests.fakes.waiting import until

Told = tuple[int, CIMultiDictProxy[str]]
SEARCH = "/v1/search/repositories?q={}"
TOKEN = {"Authorization": "Bearer of-somebody"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with plain_session() as opened:
        yield opened


async def ask(
    gateway: RunningGateway, session: aiohttp.ClientSession, path: str = "/v1/me", headers: dict[str, str] | None = None
) -> Told:
    async with session.get(gateway.url + path, headers=headers) as answer:
        await answer.read()
        return answer.status, answer.headers


async def test_every_answer_tells_what_is_left(session: aiohttp.ClientSession) -> None:
    async with running_gateway(rate_limit_per_minute="600") as gateway:
        for left, path in enumerate(("/v1/trending/languages", "/v1/trending/languages", "/nothing", "/v1/%2e"), 1):
            status, headers = await ask(gateway, session, path)
            assert headers["RateLimit-Policy"] == '"default";q=600;w=60'
            assert headers["RateLimit"] == f'"default";r={600 - left};t=1', status


async def test_one_request_too_many_is_told_when_to_come_again(session: aiohttp.ClientSession) -> None:
    async with running_gateway(rate_limit_per_minute="2") as gateway:
        for _ in range(2):
            assert (await ask(gateway, session))[0] == 200
        async with session.get(f"{gateway.url}/v1/me") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "30")
            assert answer.headers["RateLimit"] == '"default";r=0;t=30'
            problem = await answer.json(content_type="application/problem+json")
            assert (problem["code"], problem["retry_after"]) == ("rate_limited", 30)
        async with session.get(f"{gateway.url}/trending-repositories") as answer:
            assert (answer.status, await answer.read()) == (429, b"[]")
        assert gateway.seen_by_all == ["/v1/me"]


async def test_what_the_cache_can_answer_is_no_search(session: aiohttp.ClientSession) -> None:
    async with running_gateway(search_rate_limit_per_minute="2") as gateway:
        for _ in range(5):
            assert (await ask(gateway, session, SEARCH.format("a")))[0] == 200
        assert (await ask(gateway, session, SEARCH.format("b")))[0] == 200
        status, headers = await ask(gateway, session, SEARCH.format("c"))
        assert (status, headers["RateLimit-Policy"]) == (429, '"search";q=2;w=60')
        assert (await ask(gateway, session, SEARCH.format("a")))[0] == 200
        assert (await ask(gateway, session))[0] == 200
        assert len(gateway.services[Service.SEARCH].seen) == 2


async def test_an_address_that_nobody_trusted_wrote_down_changes_nothing(session: aiohttp.ClientSession) -> None:
    async with running_gateway(rate_limit_per_minute="2") as gateway:
        statuses = [
            (await ask(gateway, session, headers={"X-Forwarded-For": f"198.51.100.{number}"}))[0] for number in range(3)
        ]
        assert statuses == [200, 200, 429]


async def test_behind_a_trusted_proxy_each_caller_has_a_limit(session: aiohttp.ClientSession) -> None:
    async with running_gateway(rate_limit_per_minute="2", TRUSTED_PROXIES="127.0.0.1") as gateway:
        for source in ("198.51.100.1", "198.51.100.2", "203.0.113.9, 198.51.100.3", "2001:db8::1"):
            statuses = [(await ask(gateway, session, headers={"X-Forwarded-For": source}))[0] for _ in range(3)]
            assert statuses == [200, 200, 429]
        pretended = {"X-Forwarded-For": "192.0.2.77, 198.51.100.1"}
        assert (await ask(gateway, session, headers=pretended))[0] == 429
        assert (await ask(gateway, session, headers={"X-Forwarded-For": "2001:db8::2"}))[0] == 429
        for with_port in ("198.51.100.1:4711", "198.51.100.1:4712", "[2001:db8::1]:443"):
            assert (await ask(gateway, session, headers={"X-Forwarded-For": with_port}))[0] == 429


async def test_a_token_nobody_has_accepted_opens_no_bucket(session: aiohttp.ClientSession) -> None:
    async with running_gateway(rate_limit_per_minute="2") as gateway:
        statuses = [
            (await ask(gateway, session, headers={"Authorization": f"Bearer {number}"}))[0] for number in range(3)
        ]
        assert statuses == [200, 200, 429]


async def test_a_token_that_github_has_accepted_has_its_own_limit_until_it_is_refused(
    session: aiohttp.ClientSession,
) -> None:
    status = 200

    async def answer_privately(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Cache-Control": "private, no-store"})

    async with running_gateway(rate_limit_per_minute="2") as gateway:
        gateway.services[Service.DEVELOPER].answer = answer_privately
        assert (await ask(gateway, session, headers=TOKEN))[1]["RateLimit-Policy"] == '"default";q=2;w=60'
        assert (await ask(gateway, session, headers=TOKEN))[1]["RateLimit-Policy"] == '"identity-default";q=4;w=60'
        assert (await ask(gateway, session))[0] == 200
        assert (await ask(gateway, session))[0] == 429
        status = 401
        assert (await ask(gateway, session, headers=TOKEN))[0] == 401
        assert (await ask(gateway, session, headers=TOKEN))[0] == 429


async def test_one_caller_asks_a_service_so_much_at_once_and_no_more(session: aiohttp.ClientSession) -> None:
    may_answer = asyncio.Event()

    async def wait(_request: web.Request) -> web.StreamResponse:
        await may_answer.wait()
        return web.Response()

    async with running_gateway() as gateway:
        service = gateway.services[Service.DEVELOPER]
        service.answer = wait
        requests = [
            asyncio.create_task(ask(gateway, session, f"/v1/developers/{number}")) for number in range(CALLER_LIMIT)
        ]
        await until(lambda: len(service.seen) == CALLER_LIMIT)
        status, headers = await ask(gateway, session, "/v1/developers/one-more")
        assert (status, headers["Retry-After"]) == (429, "1")
        assert (await ask(gateway, session, "/v1/trending/languages"))[0] == 200
        may_answer.set()
        assert {told[0] for told in await asyncio.gather(*requests)} == {200}


async def test_every_answer_has_what_keeps_browsers_careful(session: aiohttp.ClientSession) -> None:
    async with running_gateway() as gateway:
        for path in ("/v1/me", "/v1/trending/languages", "/v1/trending/languages", "/nothing", "/health-check"):
            _, headers = await ask(gateway, session, path)
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert len(headers.getall("Content-Security-Policy")) == 1
        assert (await ask(gateway, session, "/v1/me"))[1]["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("path", ["/metrics", "/health/live", "/health/ready", "/internal/alerts", "/internal"])
async def test_what_is_for_the_inside_is_not_found_outside(session: aiohttp.ClientSession, path: str) -> None:
    async with running_gateway() as gateway:
        assert (await ask(gateway, session, path))[0] == 404
        assert gateway.seen_by_all == []


async def test_metrics_tell_of_every_part(session: aiohttp.ClientSession) -> None:
    async with running_gateway(rate_limit_per_minute="4") as gateway:
        for path in ("/v1/trending/languages", "/v1/trending/languages", "/v1/me", "/v1/me", "/v1/me"):
            await ask(gateway, session, path, TOKEN if path == "/v1/me" else None)
        async with session.get(f"{gateway.internal_url}/metrics") as answer:
            page = await answer.text()
        address = gateway.services[Service.REPO].url.removeprefix("http://")
        for line in (
            'http_request_duration_seconds_count{method="GET",route="/v1/trending/languages",status="200"} 1.0',
            'gateway_hits_total{route="/v1/trending/languages",status="200"} 1.0',
            'gateway_cache_answers_total{status="hit"} 1.0',
            'gateway_cache_answers_total{status="miss"} 1.0',
            'gateway_cache_answers_total{status="bypass"} 2.0',
            'gateway_rate_limited_total{limit="default"} 1.0',
            "gateway_connections 1.0",
            'gateway_admission_under_way{service="repo-service"} 0.0',
            f'gateway_replica_requests_total{{replica="{address}",service="repo-service"}} 1.0',
            f'gateway_replica_state{{replica="{address}",service="repo-service",state="active"}} 1.0',
            'gateway_retry_budget{service="repo-service"} ',
            'gateway_retries_total{service="repo-service"} 0.0',
        ):
            assert f"\n{line}" in page

"""Five times as many requests as a service can take: it stays busy, the rest is told so early, and then all is well.

For as long as OVERLOAD_SECONDS says: 3 by default, 60 in `make overload`.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from gateway.routes import Service
from tests.fakes.running_gateway import RunningGateway, plain_session, running_gateway
from tests.fakes.waiting import until

OVERLOAD_SECONDS = float(os.environ.get("OVERLOAD_SECONDS", "3"))
PLACES = 4
WORK_SECONDS = 0.05
CAPACITY_A_SECOND = PLACES / WORK_SECONDS


class BusyService:
    """Works on a few requests at a time, and knows how much of its time it was busy."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(PLACES)
        self.busy_seconds = 0.0

    async def answer(self, _request: web.Request) -> web.StreamResponse:
        async with self._places:
            started = asyncio.get_running_loop().time()
            await asyncio.sleep(WORK_SECONDS)
            self.busy_seconds += asyncio.get_running_loop().time() - started
        return web.json_response({}, headers={"Cache-Control": "no-store"})


@pytest.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    async with running_gateway(TRUSTED_PROXIES="127.0.0.1") as running:
        running.gateway.admission.gates[Service.DEVELOPER].under_way_limit = 4 * PLACES
        yield running


async def ask(gateway: RunningGateway, session: aiohttp.ClientSession, number: int) -> tuple[int, str | None]:
    headers = {"X-Forwarded-For": f"10.0.{number >> 8 & 255}.{number & 255}"}
    async with session.get(f"{gateway.url}/v1/developers/{number}", headers=headers) as answer:
        await answer.read()
        return answer.status, answer.headers.get("Retry-After")


async def test_five_times_too_much_keeps_a_service_busy_and_ends_without_a_trace(
    gateway: RunningGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = asyncio.get_running_loop()
    service = BusyService()
    gateway.services[Service.DEVELOPER].answer = service.answer
    gate = gateway.gateway.admission.gates[Service.DEVELOPER]
    async with plain_session() as session:
        started = loop.time()
        requests: list[asyncio.Task[tuple[int, str | None]]] = []
        # At its rate, however late the answers are: what is overloaded has no say in how much comes.
        while (elapsed := loop.time() - started) < OVERLOAD_SECONDS:
            while len(requests) < elapsed * 5 * CAPACITY_A_SECOND:
                requests.append(asyncio.create_task(ask(gateway, session, len(requests))))
            await asyncio.sleep(0.005)
        share_of_capacity = service.busy_seconds / (loop.time() - started) / PLACES
        ended = loop.time()
        turned_away = 0
        async with asyncio.timeout(10):
            while (await ask(gateway, session, 0))[0] != 200:
                turned_away += 1
        recovery_seconds = loop.time() - ended
        told = Counter(await asyncio.gather(*requests))
        with capsys.disabled():
            print(
                f"\n{len(requests)} requests in {elapsed:.0f} s, {CAPACITY_A_SECOND:.0f} a second can be done: "
                f"{told[200, None]} answered, {told[503, '1']} turned away; goodput ÷ capacity "
                f"{share_of_capacity:.3f}; then the first is answered after {recovery_seconds:.2f} s, "
                f"{turned_away} turned away before it"
            )

        assert set(told) == {(200, None), (503, "1")}
        assert share_of_capacity >= 0.9
        assert told[503, "1"] + turned_away == gate.refused > told[200, None]

        await until(lambda: gate.under_way == gate.waiting == 0)
        refused = gate.refused
        for number in range(20):
            assert (await ask(gateway, session, number))[0] == 200
        assert gate.refused == refused


async def test_others_are_served_meanwhile(gateway: RunningGateway) -> None:
    never = asyncio.Event()

    async def hang(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    gateway.services[Service.DEVELOPER].answer = hang
    gate = gateway.gateway.admission.gates[Service.DEVELOPER]
    async with plain_session() as session:
        requests = [asyncio.create_task(ask(gateway, session, number)) for number in range(200)]
        await until(lambda: gate.refused > 0 and gate.under_way == gate.under_way_limit)
        async with session.get(f"{gateway.url}/v1/trending/languages") as answer:
            assert answer.status == 200
        never.set()
        await asyncio.gather(*requests)

"""The gateway's shared cache between real callers and a service on a real port; with the fast path and without it."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import brotli
import pytest
from aiohttp import web
from yarl import URL

from gateway.admission import TooManyAtOnce
from gateway.cache.entry import Entry
from gateway.cache.flight import Given, Question
from gateway.cache.policy import Lifetime
from gateway.cache.shared_cache import SharedCache
from gateway.routes import Service
from service_kit.errors import UpstreamFault
from tests.fakes.running_gateway import RunningGateway, plain_session, running_gateway
from tests.fakes.waiting import until

PATH = "/v1/developers/torvalds"
LONG = "a" * 2000


@pytest.fixture(params=["on", "off", "straight"])
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[RunningGateway]:
    async with running_gateway(gateway_fast_path=request.param.replace("straight", "on")) as running:
        if request.param == "straight":
            await running.warm_up()
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with plain_session() as opened:
        yield opened


class Script:
    """A service that numbers its answers; `headers`, `status` and `wait` are what the next ones are made of."""

    def __init__(self, gateway: RunningGateway, service: Service = Service.DEVELOPER) -> None:
        self.headers = {"Cache-Control": "public, max-age=60"}
        self.status = 200
        self.wait: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)
        self.asked = 0
        self.left = 0
        self.service = gateway.services[service]
        self.service.answer = self.answer

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        number = self.asked
        try:
            await self.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        if self.status == 304:
            return web.Response(status=304, headers=self.headers)
        return web.json_response({"answer": number, "text": LONG}, status=self.status, headers=self.headers)


@pytest.fixture
def script(gateway: RunningGateway) -> Script:
    return Script(gateway)


class Got:
    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body
        self.cache_status = response.headers.getall("Cache-Status", [""])[-1]

    @property
    def answer(self) -> int:
        return int(self.body.partition(b'"answer": ')[2].partition(b",")[0])


async def get(
    session: aiohttp.ClientSession, gateway: RunningGateway, path: str = PATH, method: str = "GET", **headers: str
) -> Got:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = URL(gateway.url + path, encoded=True)
    async with session.request(method, url, headers=named, skip_auto_headers=["Accept-Encoding"]) as it:
        return Got(it, await it.read())


async def test_the_second_caller_is_answered_from_memory(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    first, second, third = [await get(session, gateway) for _ in range(3)]
    assert (script.asked, first.body) == (1, second.body)
    assert first.cache_status == "wegit-gateway; fwd=uri-miss; stored"
    assert second.cache_status == third.cache_status == "wegit-gateway; hit; ttl=60"
    assert second.headers["Age"] == "0"
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
    assert second.headers["Access-Control-Allow-Origin"] == "*"


async def test_head_is_answered_from_what_get_brought(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    whole = await get(session, gateway)
    head = await get(session, gateway, method="HEAD")
    assert (script.asked, head.body) == (1, b"")
    assert head.headers["Content-Length"] == str(len(whole.body))


async def test_a_head_before_any_get_is_not_kept(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    await get(session, gateway, method="HEAD")
    assert (await get(session, gateway)).answer == 2


@pytest.mark.parametrize("offered", ['W/"1"', '"1"', '"0", W/"1"', "*"])
async def test_who_has_it_already_gets_a_304(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script, offered: str
) -> None:
    script.headers["ETag"] = 'W/"1"'
    await get(session, gateway)
    confirmed = await get(session, gateway, If_None_Match=offered)
    assert (confirmed.status, confirmed.body, confirmed.headers["ETag"]) == (304, b"", 'W/"1"')
    assert (await get(session, gateway, If_None_Match='"2"')).status == 200
    assert script.asked == 1


async def test_each_encoding_is_made_once_and_sent_to_who_takes_it(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    script.headers["ETag"] = '"strong"'
    plain = await get(session, gateway)
    assert "Accept-Encoding" in plain.headers.getall("Vary")
    unpack = {"br": brotli.decompress, "gzip": gzip.decompress}
    for encoding in ("br", "gzip"):
        got = plain
        async with asyncio.timeout(10):
            while "Content-Encoding" not in got.headers:
                got = await get(session, gateway, Accept_Encoding=encoding)
        assert (got.headers["Content-Encoding"], got.headers["ETag"]) == (encoding, 'W/"strong"')
        assert unpack[encoding](got.body) == plain.body
    assert (await get(session, gateway)).body == plain.body
    assert script.asked == 1


async def test_age_and_ttl_go_on_from_what_the_service_said(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    script.headers["Age"] = "20"
    await get(session, gateway)
    hit = await get(session, gateway)
    assert (hit.headers["Age"], hit.cache_status) == ("20", "wegit-gateway; hit; ttl=40")


OWN = [
    pytest.param(PATH, {"Authorization": "token-of-one-caller"}, id="Authorization"),
    pytest.param(PATH, {"Cookie": "session=1"}, id="Cookie"),
    pytest.param(f"{PATH}?token=x", {}, id="token"),
    pytest.param(f"{PATH}?%74oken=x", {}, id="encoded token"),
]


@pytest.mark.parametrize(("path", "headers"), OWN)
async def test_what_is_one_callers_is_neither_kept_nor_shown_to_another(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script, path: str, headers: dict[str, str]
) -> None:
    own = [await get(session, gateway, path, **headers) for _ in range(2)]
    assert [one.answer for one in own] == [1, 2]
    assert own[1].cache_status == "wegit-gateway; fwd=bypass"
    public = [await get(session, gateway) for _ in range(2)]
    assert [one.answer for one in public] == [3, 3]
    assert (await get(session, gateway, path, **headers)).answer == 4
    assert len(gateway.gateway.cache.store) == 1


async def test_an_answer_with_a_cookie_is_nobody_elses(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    script.headers["Set-Cookie"] = "session=1"
    assert [(await get(session, gateway)).answer for _ in range(2)] == [1, 2]


async def test_callers_at_once_never_get_each_others_bodies(gateway: RunningGateway) -> None:
    async def echo(request: web.Request) -> web.Response:
        await asyncio.sleep(0)
        whose = request.headers.get("Authorization", "nobody")
        policy = "private, no-store" if whose != "nobody" else "public, max-age=60"
        return web.json_response({"whose": whose}, headers={"Cache-Control": policy, "Vary": "Authorization"})

    gateway.services[Service.DEVELOPER].answer = echo

    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        whose = f"token-{number}" if number % 3 else "nobody"
        headers = {"Authorization": whose} if number % 3 else {}
        async with session.get(gateway.url + PATH, headers=headers) as response:
            assert await response.json() == {"whose": whose}

    async with aiohttp.ClientSession() as session:
        for _ in range(5):
            await asyncio.gather(*(ask(session, number) for number in range(24)))


UNKEYED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "ftp",
    "X-Original-URL": "/admin",
    "X-Rewrite-Url": "/admin",
    "X-HTTP-Method-Override": "POST",
    "User-Agent": "evil",
    "Referer": "https://evil.example",
    "Origin": "https://evil.example",
    "Range": "bytes=0-1",
    "Accept-Language": "xx",
    "Forwarded": "host=evil.example",
    "X-Anything": "evil",
}


async def test_no_unkeyed_header_reaches_the_service_or_changes_an_answer(
    gateway: RunningGateway, session: aiohttp.ClientSession
) -> None:
    async def reflect(request: web.Request) -> web.Response:
        shown = {name: value for name, value in request.headers.items() if name in UNKEYED}
        return web.json_response(shown, headers={"Cache-Control": "max-age=60"})

    gateway.services[Service.DEVELOPER].answer = reflect
    async with session.get(gateway.url + PATH, headers=UNKEYED) as response:
        assert (response.status, await response.json()) == (200, {})
    async with session.get(gateway.url + PATH) as response:
        assert await response.json() == {}


async def test_parameters_stand_for_the_same_in_any_order_and_unknown_ones_for_nothing(
    gateway: RunningGateway, session: aiohttp.ClientSession
) -> None:
    script = Script(gateway, Service.SEARCH)
    path = "/v1/search/repositories"
    for query in ("?q=a&page=2", "?page=2&q=a", "?utm=1&page=2&q=a&utm=2", "?page=2&&q=a&"):
        assert (await get(session, gateway, path + query)).answer == 1
    assert script.service.targets == [f"{path}?page=2&q=a"]
    for number, query in enumerate(["?q=A&page=2", "?q=%61&page=2", "?Q=a&page=2", "?q=a&page=2&page=3"], 2):
        assert (await get(session, gateway, path + query)).answer == number


async def test_the_original_paths_share_their_answers_with_and_without_prefix(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    for path in ("/developers?name=x", "/gitter/developers?name=x", "/gitter/developers?name=x&from=phone"):
        assert (await get(session, gateway, path)).answer == 1


async def test_what_varies_by_accept_is_kept_for_each(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    script = Script(gateway, Service.REPO)
    script.headers["Vary"] = "Accept"
    path = "/v1/repositories/a/b/readme"
    answers = [(await get(session, gateway, path, Accept=it)).answer for it in ("text/html", "*/*", "text/html", "*/*")]
    assert answers == [1, 2, 1, 2]


async def test_anonymous_callers_cannot_have_a_service_asked_at_will(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    await get(session, gateway)
    for directive in ("no-cache", "max-age=0"):
        assert (await get(session, gateway, Cache_Control=directive, Pragma="no-cache")).answer == 1


async def test_what_a_caller_wants_kept_nowhere_is_not(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    await get(session, gateway, Cache_Control="no-store")
    assert len(gateway.gateway.cache.store) == 0


async def test_who_wants_nothing_kept_does_not_change_what_others_get(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    script.headers["Cache-Control"] = "max-age=60, stale-while-revalidate=60"
    await get(session, gateway, Cache_Control="no-store")
    gate = asyncio.Event()
    script.wait, script.headers["Age"] = gate.wait, "70"
    asked = [asyncio.create_task(get(session, gateway)) for _ in range(2)]
    await until(lambda: _waiting(gateway) == 2)  # for one answer, as ever
    gate.set()
    await asyncio.gather(*asked)
    assert script.asked == 2
    (entry,) = gateway.gateway.cache.store._places[PATH]
    entry.retry_at = 0.0  # a second later
    script.headers["Age"] = "0"
    assert (await get(session, gateway, Cache_Control="no-store")).answer == 2
    await until(lambda: gateway.gateway.cache.store._places[PATH][0] is not entry)
    assert (await get(session, gateway)).answer == 3


async def test_who_asks_the_same_at_once_waits_for_one_answer(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    gate = asyncio.Event()
    script.wait = gate.wait
    asked = [asyncio.create_task(get(session, gateway)) for _ in range(20)]
    await until(lambda: len(script.service.seen) == 1 and _waiting(gateway) == 20)
    gate.set()
    got = await asyncio.gather(*asked)
    assert {one.answer for one in got} == {1}
    assert sum("collapsed" in one.cache_status for one in got) == 19
    assert script.asked == 1


def _waiting(gateway: RunningGateway) -> int:
    return sum(flight.wanted_by for flight in gateway.gateway.cache._flights.values())


async def test_who_asked_first_may_leave_without_taking_the_answer_along(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    gate = asyncio.Event()
    script.wait = gate.wait
    first = asyncio.create_task(get(session, gateway))
    await until(lambda: _waiting(gateway) == 1)
    second = asyncio.create_task(get(session, gateway))
    await until(lambda: _waiting(gateway) == 2)
    first.cancel()
    await until(lambda: _waiting(gateway) == 1)
    gate.set()
    assert (await second).answer == 1
    assert script.asked == 1


async def test_when_all_have_left_the_service_is_told(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    ended = asyncio.Event()

    async def behave(_request: web.Request) -> web.Response:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        raise AssertionError

    script.service.answer = behave
    asked = [asyncio.create_task(get(session, gateway)) for _ in range(3)]
    await until(lambda: _waiting(gateway) == 3)
    for task in asked:
        task.cancel()
    await until(lambda: not gateway.gateway.cache._flights)
    assert gateway.gateway.admission.gates[Service.DEVELOPER].under_way == 0


async def test_a_failure_is_shared_by_who_waited_for_it(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    gate = asyncio.Event()
    script.wait, script.status, script.headers = gate.wait, 503, {"Cache-Control": "no-store"}
    asked = [asyncio.create_task(get(session, gateway)) for _ in range(20)]
    await until(lambda: _waiting(gateway) == 20)
    gate.set()
    got = await asyncio.gather(*asked)
    assert {(one.status, one.answer) for one in got} == {(503, 1)}
    assert script.asked == 1
    assert len(gateway.gateway.cache.store) == 0


async def test_a_refusal_that_was_one_callers_own_is_not_shared() -> None:
    cache = SharedCache(1024 * 1024, list)

    async def refuse(_validators: list[tuple[str, str]]) -> Given:
        raise TooManyAtOnce("At most 32 at once.")

    async def fail(_validators: list[tuple[str, str]]) -> Given:
        raise UpstreamFault("It was asked.")

    mine, others = (Question("/x", "", ask) for ask in (refuse, fail))
    got = await asyncio.gather(cache.fetch(mine, None), cache.fetch(others, None), return_exceptions=True)
    assert [type(one) for one in got] == [TooManyAtOnce, UpstreamFault]
    await cache.close()


async def test_what_may_not_be_kept_is_asked_for_by_each_and_later_nobody_waits(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    gate = asyncio.Event()
    script.wait, script.headers = gate.wait, {"Cache-Control": "no-store"}
    asked = [asyncio.create_task(get(session, gateway)) for _ in range(5)]
    await until(lambda: _waiting(gateway) == 5)
    gate.set()
    assert sorted(one.answer for one in await asyncio.gather(*asked)) == [1, 2, 3, 4, 5]
    gate.clear()
    later = [asyncio.create_task(get(session, gateway)) for _ in range(3)]
    await until(lambda: script.asked == 8)  # all at once, before any was answered
    gate.set()
    await asyncio.gather(*later)


async def test_a_stale_answer_goes_on_while_it_is_renewed(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    script.headers["Cache-Control"] = "max-age=60, stale-while-revalidate=60"
    script.headers["Age"] = "70"
    await get(session, gateway)
    (entry,) = gateway.gateway.cache.store._places[PATH]
    entry.retry_at = 0.0  # a second later
    gate = asyncio.Event()
    script.wait, script.headers["Age"] = gate.wait, "0"
    stale = [await get(session, gateway) for _ in range(3)]
    assert {one.answer for one in stale} == {1}
    assert stale[0].cache_status == "wegit-gateway; hit; ttl=-10"
    await until(lambda: script.asked == 2)
    gate.set()
    await until(lambda: gateway.gateway.cache.store._places[PATH][0] is not entry)
    assert (await get(session, gateway)).answer == 2
    assert script.asked == 2


class Private:
    """An answer for one alone."""

    is_complete = True
    is_closed = False

    def __init__(self) -> None:
        self.status = 200
        self.headers = [("Cache-Control", "private")]
        self.content_length: int | None = 0

    def take(self) -> bytes:
        return b""

    async def read(self, limit_bytes: int) -> bytes:
        return b""

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b""

    def close(self) -> None:
        self.is_closed = True


async def test_an_answer_that_turns_out_not_to_be_for_everybody_is_asked_for_once_behind() -> None:
    """Where several find the old one stale at the same moment."""
    cache = SharedCache(1024 * 1024, list)
    lifetime = Lifetime(age=70, fresh=60, while_revalidated=60, if_error=0)
    stale = Entry(200, [], b"old", lifetime, time.monotonic(), "")
    cache.store.put(PATH, stale)
    given = [Private() for _ in range(3)]
    asked = 0

    async def ask(_validators: list[tuple[str, str]]) -> Private:
        nonlocal asked
        asked += 1
        return given[asked - 1]

    for _ in range(3):
        cache.renew_behind(Question(PATH, "", ask), stale)
    await until(lambda: given[0].is_closed)
    await until(lambda: not cache._renewals)
    assert asked == 1
    assert len(cache.store) == 0
    await cache.close()


@pytest.mark.parametrize("failure", ["status", "unreachable"])
async def test_a_stale_answer_stands_in_for_a_failing_service(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script, failure: str
) -> None:
    script.headers = {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "100"}
    await get(session, gateway)
    if failure == "status":
        script.status = 503
    else:
        await script.service.server.close()
    got = [await get(session, gateway) for _ in range(5)]
    assert {(one.status, one.answer) for one in got} == {(200, 1)}
    assert got[0].cache_status == "wegit-gateway; hit; ttl=-40"
    assert script.asked <= 2  # and not once for each


async def test_a_stale_answer_stands_in_for_a_service_that_has_too_much_to_do(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    script.headers = {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "100"}
    await get(session, gateway)
    gateway.gateway.admission.gates[Service.DEVELOPER].under_way_limit = 0
    stale = await get(session, gateway)
    assert (stale.status, stale.answer) == (200, 1)


async def test_too_old_an_answer_does_not_stand_in(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    script.headers = {"Cache-Control": "max-age=60, stale-if-error=10", "Age": "100"}
    await get(session, gateway)
    script.status = 503
    assert (await get(session, gateway)).status == 503


async def test_an_old_answer_is_confirmed_by_its_tag(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    script.headers = {"Cache-Control": "max-age=60", "Age": "100", "ETag": 'W/"1"'}
    await get(session, gateway)
    script.status, script.headers = 304, {"Cache-Control": "max-age=90", "ETag": 'W/"1"', "X-Note": "new"}
    confirmed = await get(session, gateway)
    assert (confirmed.status, confirmed.answer, confirmed.headers["X-Note"]) == (200, 1, "new")
    assert confirmed.headers["Cache-Control"] == "max-age=90"
    assert script.service.seen[-1].headers["If-None-Match"] == 'W/"1"'
    assert (await get(session, gateway)).cache_status == "wegit-gateway; hit; ttl=90"
    assert script.asked == 2


async def test_a_304_of_another_tag_confirms_nothing(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    # As from a replica of another version, whose 304 speaks of a body that is not ours.
    script.headers = {"Cache-Control": "max-age=60", "Age": "100", "ETag": 'W/"1"'}
    await get(session, gateway)

    async def answer(request: web.Request) -> web.Response:
        if "If-None-Match" in request.headers:
            return web.Response(status=304, headers={"Cache-Control": "max-age=90", "ETag": 'W/"2"'})
        return web.json_response({"answer": 2, "text": LONG}, headers={"Cache-Control": "max-age=90", "ETag": 'W/"2"'})

    script.service.answer = answer
    renewed = await get(session, gateway)
    assert (renewed.status, renewed.answer, renewed.headers["ETag"]) == (200, 2, 'W/"2"')
    assert (await get(session, gateway)).answer == 2


async def test_a_304_that_nobody_asked_for_confirms_nothing(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    script.headers = {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "100"}
    await get(session, gateway)
    script.status, script.headers = 304, {"Cache-Control": "max-age=90"}
    assert (await get(session, gateway)).status == 304  # an answer like any other, but not to be kept
    script.status = 503
    assert (await get(session, gateway)).status == 503


async def test_what_is_missing_is_never_unchanged(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    # RFC 9110, 13.2.1: a condition counts only where the answer would be a success without it.
    script.status, script.headers = 404, {"Cache-Control": "max-age=60", "ETag": 'W/"1"'}
    await get(session, gateway)
    assert (await get(session, gateway, If_None_Match="*")).status == 404
    assert (await get(session, gateway, If_None_Match='W/"1"')).status == 404


async def test_what_is_gone_is_forgotten(
    gateway: RunningGateway, session: aiohttp.ClientSession, script: Script
) -> None:
    script.headers = {"Cache-Control": "max-age=60, stale-if-error=600", "Age": "100"}
    await get(session, gateway)
    script.status, script.headers = 404, {"Cache-Control": "no-store"}
    assert (await get(session, gateway)).status == 404
    script.status = 503
    assert (await get(session, gateway)).status == 503


async def test_a_body_that_breaks_off_is_never_kept(gateway: RunningGateway, session: aiohttp.ClientSession) -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100", "Cache-Control": "max-age=60"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    gateway.services[Service.DEVELOPER].answer = break_off
    assert (await get(session, gateway)).status == 502
    assert len(gateway.gateway.cache.store) == 0


async def test_a_hit_counts_against_its_callers_limit() -> None:
    for fast_path in ("on", "off"):
        async with (
            running_gateway(gateway_fast_path=fast_path, rate_limit_per_minute="5") as gateway,
            plain_session() as session,
        ):
            got = [await get(session, gateway) for _ in range(6)]
            assert [one.status for one in got] == [200] * 5 + [429]
            assert [one.headers["RateLimit"].split(";")[1] for one in got] == ["r=4", "r=3", "r=2", "r=1", "r=0", "r=0"]

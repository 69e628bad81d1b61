"""What callers of the whole gateway notice when a service's name fails or stands for another. Real sockets."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from gateway import app
from gateway.hop import resolver
from gateway.hop.hop import Hop
from gateway.hop.resolver import look_up
from tests.fakes.named_replicas import NAME, Names
from tests.fakes.raw_upstream import RawUpstream, raw_upstream, sends
from tests.fakes.running_gateway import RunningGateway, plain_session, running_gateway
from tests.fakes.waiting import until

UNCACHED = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\n[]"


class Resolved:
    """A gateway whose developer-service is a name, and bare sockets at two addresses that it may stand for."""

    def __init__(self, gateway: RunningGateway, names: Names, upstreams: list[RawUpstream]) -> None:
        self.names = names
        self.upstreams = upstreams
        self._gateway = gateway

    async def ask(self, count: int = 20) -> list[int]:
        """How many of so many requests came to each address; all were answered."""
        before = [upstream.asked for upstream in self.upstreams]
        async with plain_session() as session:
            for _ in range(count):
                async with session.get(f"{self._gateway.url}/v1/developers/x") as answer:
                    assert (answer.status, await answer.read()) == (200, b"[]")
        return [upstream.asked - then for upstream, then in zip(self.upstreams, before, strict=True)]

    async def look_up_twice_more(self) -> None:
        enough = self.names.asked + 2
        await until(lambda: self.names.asked >= enough)


@pytest.fixture
async def resolved(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Resolved]:
    monkeypatch.setattr(resolver, "INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(resolver, "LOOKUP_TIMEOUT_SECONDS", 0.1)
    names = Names(["127.0.0.1"])

    async def lookup(host: str) -> list[str]:
        return await names(host) if host == NAME else await look_up(host)

    monkeypatch.setattr(app, "Hop", partial(Hop, lookup=lookup))
    async with (
        raw_upstream(sends(UNCACHED)) as first,
        raw_upstream(sends(UNCACHED), "127.0.0.2", first.port) as second,
        running_gateway(developer_service_url=f"http://{NAME}:{first.port}") as gateway,
    ):
        yield Resolved(gateway, names, [first, second])
        names.may_go_on.set()


@pytest.mark.parametrize("says", [[], OSError("no such name")], ids=["no address", "an error"])
async def test_a_name_that_stands_for_nothing_any_more_stands_for_what_it_did(
    resolved: Resolved, says: list[str] | OSError
) -> None:
    resolved.names.says = says
    await resolved.look_up_twice_more()
    assert await resolved.ask() == [20, 0]


async def test_a_name_that_is_not_answered_stands_for_what_it_did(resolved: Resolved) -> None:
    resolved.names.says = None
    await until(lambda: resolved.names.waiting == 1)
    assert await resolved.ask() == [20, 0]
    resolved.names.says = ["127.0.0.2"]  # what is said at last
    resolved.names.may_go_on.set()
    await until(lambda: resolved.names.waiting == 0)
    await resolved.look_up_twice_more()
    assert await resolved.ask() == [0, 20]


async def test_a_name_that_stands_for_another_address_has_requests_go_there(resolved: Resolved) -> None:
    assert await resolved.ask() == [20, 0]
    resolved.names.says = ["127.0.0.2"]
    await resolved.look_up_twice_more()
    assert await resolved.ask() == [0, 20]
    resolved.names.says = ["127.0.0.1", "127.0.0.2"]
    await resolved.look_up_twice_more()
    assert await resolved.ask() == [10, 10]


async def test_addresses_that_change_under_load_cost_no_caller_an_answer(resolved: Resolved) -> None:
    asking = [asyncio.create_task(resolved.ask(200)) for _ in range(4)]
    for says in (["127.0.0.2"], ["127.0.0.1"], ["127.0.0.1", "127.0.0.2"], []):
        resolved.names.says = says
        await resolved.look_up_twice_more()
    await asyncio.gather(*asking)

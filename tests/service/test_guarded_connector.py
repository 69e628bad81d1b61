"""Connections to subscribers' addresses: what leads inside is refused, on real sockets, whatever the name says."""

import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from notifier_service.guarded_connector import ForbiddenAddress, guarded_connector, is_public, was_forbidden
from tests.fakes.webhook import PATH, FakeWebhook, fake_webhook


class Resolver(AbstractResolver):
    """Resolves every name to the addresses it is told, in turns."""

    def __init__(self, *turns: list[str]) -> None:
        self._turns = list(turns)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        turn = self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": socket.IPPROTO_TCP,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in turn
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
async def inside() -> AsyncIterator[FakeWebhook]:
    """What must not be reached."""
    async with fake_webhook() as webhook:
        yield webhook


async def post(url: str, resolver: Resolver | None = None, allows: Callable[[str], bool] = is_public) -> int:
    async with aiohttp.ClientSession(connector=guarded_connector(allows, resolver)) as session:
        return await post_with(session, url)


async def post_with(session: aiohttp.ClientSession, url: str, **more: Any) -> int:
    async with session.post(url, json={}, timeout=aiohttp.ClientTimeout(total=5), **more) as response:
        return response.status


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0"]
)
async def test_every_spelling_of_loopback_is_refused(inside: FakeWebhook, host: str) -> None:
    with pytest.raises(aiohttp.ClientError) as refusal:
        await post(f"http://{host}:{inside.port}{PATH}")
    # aiohttp takes no IPv4 address but in its usual form.
    assert was_forbidden(refusal.value) or isinstance(refusal.value, aiohttp.InvalidURL)
    assert inside.received == []


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["::ffff:127.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["fd00::1", "::1"]]
)
async def test_name_that_resolves_to_the_inside_is_refused(inside: FakeWebhook, addresses: list[str]) -> None:
    with pytest.raises(aiohttp.ClientConnectorError) as refusal:
        await post(f"http://innocent.example:{inside.port}{PATH}", Resolver(addresses))
    assert isinstance(refusal.value.os_error, ForbiddenAddress)
    assert inside.received == []


async def test_name_that_moves_inside_after_its_first_use_is_refused(inside: FakeWebhook) -> None:
    async with fake_webhook(host="127.0.0.2") as outside:
        resolver = Resolver(["127.0.0.2"], ["127.0.0.1"])
        url = f"http://rebinding.example:{outside.port}{PATH}"
        connector = guarded_connector(lambda address: address == "127.0.0.2", resolver)
        async with aiohttp.ClientSession(connector=connector) as session:
            await post_with(session, url, headers={"Connection": "close"})
            with pytest.raises(aiohttp.ClientConnectorError) as refusal:
                await post_with(session, url)
        assert was_forbidden(refusal.value)
        assert (len(outside.received), resolver.asked) == (1, 2)
    assert inside.received == []


async def test_of_several_addresses_only_those_that_are_allowed_are_tried(inside: FakeWebhook) -> None:
    tried: list[str] = []

    def allows(address: str) -> bool:
        tried.append(address)
        return address == "127.0.0.1"

    await post(f"http://several.example:{inside.port}{PATH}", Resolver(["127.0.0.9", "127.0.0.1"]), allows)

    assert tried == ["127.0.0.9", "127.0.0.1"]
    assert len(inside.received) == 1


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch, inside: FakeWebhook) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{inside.port}")

    with pytest.raises(aiohttp.ClientConnectorError) as refusal:
        await post("http://10.0.0.1/")
    assert was_forbidden(refusal.value)
    assert inside.received == []


async def test_a_failure_of_another_kind_is_not_taken_for_a_refusal(unused_tcp_port: int) -> None:
    with pytest.raises(aiohttp.ClientConnectorError) as failure:
        await post(f"http://127.0.0.1:{unused_tcp_port}/", allows=lambda _: True)
    assert not was_forbidden(failure.value)

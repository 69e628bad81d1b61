"""The same hostile bytes on a service's own socket, which the gateway should never let through: it trusts nobody."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from service_kit.app import create_app
from service_kit.server import make_runner
from tests.service.test_gateway_hostile import REFUSED_BYTES, TOKEN


class Service:
    """A service that counts what reaches its handler."""

    def __init__(self) -> None:
        self.handled = 0
        self.port = 0
        self.app = create_app()
        self.app.router.add_route("*", "/{path:.*}", self._handle)

    async def _handle(self, request: web.Request) -> web.Response:
        await request.read()
        self.handled += 1
        return web.Response()

    async def exchange(self, sent: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent)
        async with asyncio.timeout(5):
            received = await reader.read()
        writer.close()
        return received


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    runner = make_runner(made.app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@pytest.mark.parametrize("sent", REFUSED_BYTES.values(), ids=REFUSED_BYTES.keys())
async def test_bytes_with_two_readings_reach_no_handler(service: Service, sent: str) -> None:
    received = (await service.exchange(sent.encode("latin-1"))).decode("latin-1")
    assert received.split(" ", 2)[1] == "400"
    assert received.count("HTTP/") == 1
    assert service.handled == 0
    assert TOKEN[:8] not in received

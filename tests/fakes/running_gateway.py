"""A gateway on a real port, as its process would run it, in front of four fake services."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from gateway.app import Gateway, Settings, serving
from gateway.routes import Service
from local.stack import free_ports
from tests.fakes.service import FakeService


class RunningGateway:
    """Where it listens, what it is made of, and the services behind it."""

    def __init__(
        self, port: int, internal_port: int, gateway: Gateway, services: Mapping[Service, FakeService]
    ) -> None:
        self.port = port
        self.gateway = gateway
        self.services = services
        self.url = f"http://127.0.0.1:{port}"
        self.internal_url = f"http://127.0.0.1:{internal_port}"

    @property
    def seen_by_all(self) -> list[str]:
        """Every target that reached any service."""
        return [target for service in self.services.values() for target in service.targets]

    async def warm_up(self) -> None:
        """Open a connection to each service, which is free then, as after a first request."""
        end = asyncio.get_running_loop().time() + 5
        for hop in self.gateway.hops.values():
            for replica in hop._replicas:
                replica.pool._take_back(await replica.pool.connect(end))

    async def exchange(self, sent: bytes, *, timeout_seconds: float = 5.0) -> bytes:
        """Send bytes on a connection of their own; everything that comes back until the gateway closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(sent)
            async with asyncio.timeout(timeout_seconds):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def running_gateway(**settings: str) -> AsyncIterator[RunningGateway]:
    """Start the services and the gateway; `settings` are further environment variables, or replace its own."""
    services = {service: FakeService(service) for service in Service}
    async with AsyncExitStack() as stack:
        for service in services.values():
            await service.server.start_server(auto_decompress=False)
            stack.push_async_callback(service.server.close)
        port, internal_port = free_ports(2)
        environment = {
            "GATEWAY_PORT": str(port),
            "gateway_internal_port": str(internal_port),
            "repo_service_url": services[Service.REPO].url,
            "developer_service_url": services[Service.DEVELOPER].url,
            "search_service_url": services[Service.SEARCH].url,
            "notifier_service_url": services[Service.NOTIFIER].url,
            "rate_limit_per_minute": "100000",
            "search_rate_limit_per_minute": "100000",
            **settings,
        }
        gateway = await stack.enter_async_context(serving(Settings.model_validate(environment)))
        yield RunningGateway(port, internal_port, gateway, services)


@asynccontextmanager
async def plain_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A caller that changes nothing: no decompression, no cookies."""
    async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session

"""One gateway: its settings, and its parts put together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from typing import Annotated

from aiohttp import web
from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from gateway.admission import Admission
from gateway.connections import Connections, make_server_runner
from gateway.front import Front
from gateway.headers import Network
from gateway.hop.hop import Hop
from gateway.internal import make_internal_app
from gateway.routes import Service
from service_kit.alerts import ALERTS
from service_kit.metrics import METRICS
from service_kit.server import listen, make_runner
from service_kit.settings import HttpUrl, Port, ServiceSettings


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(one.strip()) for one in value.split(",") if one.strip())
    except ValueError:
        raise ValueError("should be IP addresses or networks (CIDR), separated by commas") from None


class Settings(ServiceSettings):
    """What the gateway reads."""

    port: Port = Field(default=8080, validation_alias="GATEWAY_PORT")
    gateway_internal_port: Port = 9080
    """Metrics and health, for who runs this: never to be published."""
    repo_service_url: HttpUrl
    developer_service_url: HttpUrl
    search_service_url: HttpUrl
    notifier_service_url: HttpUrl
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = ()
    """Whose `X-Forwarded-For` is believed."""

    def url_of(self, service: Service) -> str:
        """A service's base URL."""
        return {
            Service.REPO: self.repo_service_url,
            Service.DEVELOPER: self.developer_service_url,
            Service.SEARCH: self.search_service_url,
            Service.NOTIFIER: self.notifier_service_url,
        }[service]


class Gateway:
    """A gateway that listens: what its parts are, for who watches it."""

    def __init__(
        self, internal: web.Application, hops: dict[Service, Hop], admission: Admission, connections: Connections
    ) -> None:
        self.internal = internal
        self.hops = hops
        self.admission = admission
        self.connections = connections


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Gateway]:
    """Answer on both ports while the context is open; then requests under way have their grace.

    Raises SystemExit with one line when a port is taken.
    """
    async with AsyncExitStack() as stack:
        internal = make_internal_app({service: settings.url_of(service) for service in Service})
        internal_runner = make_runner(internal)
        stack.push_async_callback(internal_runner.cleanup)
        await internal_runner.setup()
        hops = {service: Hop(service, settings.url_of(service)) for service in Service}
        for hop in hops.values():
            stack.push_async_callback(hop.close)
            await hop.start()
        admission = Admission()
        front = Front(
            hops,
            admission=admission,
            trusted_proxies=settings.trusted_proxies,
            metrics=internal[METRICS],
            alerts=internal[ALERTS],
        )
        connections = Connections(settings.trusted_proxies)
        await stack.enter_async_context(connections.watched())
        runner = make_server_runner(front.handle, connections)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await listen(runner, settings.host, settings.port)
        # Last: who finds it ready finds the door open.
        await listen(internal_runner, settings.host, settings.gateway_internal_port)
        yield Gateway(internal, hops, admission, connections)

"""One gateway: its settings, and its parts put together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from ipaddress import ip_network
from typing import Annotated

from aiohttp import web
from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from gateway.access_log import AccessLog
from gateway.admission import Admission
from gateway.cache.shared_cache import SharedCache
from gateway.callers import Callers
from gateway.connections import Connection, Connections, make_server_runner
from gateway.fast_path import FastConnection
from gateway.front import Front
from gateway.headers import Network
from gateway.hits import Hits
from gateway.hop.hop import Hop
from gateway.internal import make_internal_app
from gateway.passing import Passing
from gateway.rate_limits import RateLimits
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
    gateway_fast_path: bool = True
    """Whether hits are answered before aiohttp has made a request of them (`fast_path`)."""
    gateway_cache_mb: Annotated[int, Field(ge=1)] = 64
    """What kept answers may take of each process's memory, MiB."""
    rate_limit_per_minute: Annotated[int, Field(ge=1)] = 600
    search_rate_limit_per_minute: Annotated[int, Field(ge=1)] = 60
    """Of searches that the cache cannot answer."""
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
        self,
        internal: web.Application,
        hops: dict[Service, Hop],
        admission: Admission,
        connections: Connections,
        cache: SharedCache,
    ) -> None:
        self.internal = internal
        self.hops = hops
        self.admission = admission
        self.connections = connections
        self.cache = cache


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
        cache = SharedCache(settings.gateway_cache_mb * 1024 * 1024)
        stack.push_async_callback(cache.close)
        callers = Callers(settings.trusted_proxies)
        limits = RateLimits(settings.rate_limit_per_minute, settings.search_rate_limit_per_minute)
        access_log = AccessLog(internal[METRICS])
        hits = Hits(cache, limits, callers, access_log)
        admission = Admission()
        passing = Passing(hops, admission, cache, hits, limits, callers)
        front = Front(hits, passing, access_log, internal[ALERTS])
        connections = Connections(settings.trusted_proxies)
        await stack.enter_async_context(connections.watched())
        make_connection = partial(FastConnection, hits=hits) if settings.gateway_fast_path else Connection
        runner = make_server_runner(front.handle, connections, make_connection)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await listen(runner, settings.host, settings.port)
        # Last: who finds it ready finds the door open.
        await listen(internal_runner, settings.host, settings.gateway_internal_port)
        yield Gateway(internal, hops, admission, connections, cache)

"""One gateway: its settings, and its parts put together."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from ipaddress import ip_network
from typing import Annotated, NamedTuple

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
from gateway.known_requests import KnownRequests
from gateway.listener import Listener
from gateway.metrics import GatewayCollector
from gateway.outbox import Outbox
from gateway.passing import Passing, dress
from gateway.rate_limits import RateLimits
from gateway.routes import ROUTES, RouteTable, Service
from gateway.shared_table import SharedTable
from gateway.straight import Straight
from service_kit.alerts import ALERTS
from service_kit.health import CHECKS, Check
from service_kit.metrics import METRICS
from service_kit.server import listen, make_runner
from service_kit.settings import HttpUrl, Port, ServiceSettings

NOTICE_SECONDS = 1.0
"""Between a stop's beginning, which readiness tells, and the moment from which no connection is taken any more."""
COLLECTION_THRESHOLD = 10_000
"""New objects until the collector looks for cycles among them; requests make some hundred each, and hardly a cycle."""


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
    gateway_internal_host: str = "127.0.0.1"
    """Where that port listens, wherever the public one does."""
    gateway_fast_path: bool = True
    """Whether hits are answered, and misses passed on, before aiohttp has made a request of them (`fast_path`)."""
    gateway_workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the port; more of them than cores bring nothing."""
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


class Workplace(NamedTuple):
    """What one of several processes is given by their parent."""

    socket_path: str
    """Where it answers what its parent's internal port is asked."""
    table: SharedTable


class Gateway:
    """A gateway that listens: what its parts are, for who watches it."""

    def __init__(
        self,
        internal: web.Application,
        hops: dict[Service, Hop],
        admission: Admission,
        connections: Connections,
        cache: SharedCache,
        listener: Listener,
    ) -> None:
        self.internal = internal
        self.hops = hops
        self.admission = admission
        self.connections = connections
        self.cache = cache
        self._listener = listener

    async def drain(self) -> None:
        """Be not ready for a while, take no more connections, and let those that are there end with an answer."""
        self.connections.is_leaving = True
        await asyncio.sleep(NOTICE_SECONDS)
        await self._listener.close()
        await self.connections.drain()


@asynccontextmanager
async def serving_to_the_end(settings: Settings, workplace: Workplace | None = None) -> AsyncIterator[None]:
    """As `serving`, for a process: told to stop, it drains first. A worker is told so by its parent's end as well."""
    async with serving(settings, workplace) as gateway:
        if workplace is not None:
            stop_with_parent()
        gc.freeze()  # what there is now stays, and need not be looked through while requests are answered
        gc.set_threshold(COLLECTION_THRESHOLD)
        yield
        await gateway.drain()


def stop_with_parent() -> None:
    """Have the process stop when its standard input ends, which the parent holds open for as long as it lives."""

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin.fileno())
            os.kill(os.getpid(), signal.SIGTERM)

    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), read)


@asynccontextmanager
async def serving(settings: Settings, workplace: Workplace | None = None) -> AsyncIterator[Gateway]:
    """Answer on both ports while the context is open; then requests under way have their grace.

    A worker's internal port is a socket in its workplace.

    Raises SystemExit with one line when a port is taken.
    """
    async with AsyncExitStack() as stack:
        urls = {service: settings.url_of(service) for service in Service}
        hops = {service: Hop(service, url) for service, url in urls.items()}
        internal = make_internal_app(urls, hops)
        internal_runner = make_runner(internal)
        stack.push_async_callback(internal_runner.cleanup)
        await internal_runner.setup()
        for hop in hops.values():
            stack.push_async_callback(hop.close)
        # At once: each waits a second for a name that is not found.
        await asyncio.gather(*(hop.start() for hop in hops.values()))
        cache = SharedCache(settings.gateway_cache_mb * 1024 * 1024, dress)
        stack.push_async_callback(cache.close)
        callers = Callers(settings.trusted_proxies)
        limits = RateLimits(
            settings.rate_limit_per_minute, settings.search_rate_limit_per_minute, workplace and workplace.table
        )
        access_log = AccessLog(internal[METRICS])
        hits = Hits(cache, limits, callers, access_log)
        admission = Admission()
        passing = Passing(hops, admission, cache, hits, limits, callers)
        table, alerts = RouteTable(ROUTES), internal[ALERTS]
        front = Front(table, passing, access_log, alerts)
        outbox = Outbox()
        straight = Straight(passing, table, hops, admission, cache, access_log, alerts, outbox)
        connections = Connections(settings.trusted_proxies)
        await stack.enter_async_context(connections.watched())
        fast = partial(
            FastConnection, hits=hits, known=KnownRequests(), outbox=outbox, straight=straight, serve=front.serve
        )
        make_connection = fast if settings.gateway_fast_path else Connection
        runner = make_server_runner(front.handle, connections, make_connection)
        internal[METRICS].registry.register(GatewayCollector(connections, limits, admission, cache, hops))
        internal[CHECKS]["gateway"] = Check(connections.is_well, essential=True, details=connections.details)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        listener = Listener(runner)
        await listener.open(settings.host, settings.port, is_shared=workplace is not None)
        # Last: who finds it ready finds the door open.
        if workplace is None:
            await listen(internal_runner, settings.gateway_internal_host, settings.gateway_internal_port)
        else:
            await web.UnixSite(internal_runner, workplace.socket_path).start()
        yield Gateway(internal, hops, admission, connections, cache, listener)

"""Callers' connections: how many there may be, how slow each may be, and how all of them end at a stop."""

import asyncio
import resource
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http import StreamWriter
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from gateway.cors import ON_EVERY_ANSWER
from gateway.headers import SECURITY_HEADERS, Network, is_trusted
from gateway.rate_limits import network_of
from service_kit.request_id import well_formed_or_new
from service_kit.server import (
    CONNECTION_OPTIONS,
    KEEPALIVE_SECONDS,
    SHUTDOWN_GRACE_SECONDS,
    RefusingRequestHandler,
    RefusingServer,
)
from service_kit.tasks import running

CONNECTIONS_LIMIT = 12_000
"""Idle ones are held at about 12 KB each."""
CALLER_LIMIT = 512
"""Of them, from one address (IPv6: one /64) that is no trusted proxy's: a carrier's phones may share one."""
HEAD_SECONDS = 10.0
"""From the first byte of a request to the end of its headers."""
READER_SECONDS = 20.0
"""How long a caller may leave what is sent to him untaken: 64 KiB fill up, and reading half of them counts."""
CLOSE_SECONDS = 5.0
"""For a closed connection's last bytes to be taken."""
CROWDED_IDLE_SECONDS = 5.0
"""How long a connection may be idle while more than three quarters of all are taken."""
LEAVE_SECONDS = 2.0
"""At a stop, for each caller to be told `Connection: close` with an answer before idle connections are closed."""
LINGER_SECONDS = 2.0
"""For the rest of a body that nobody read: closed at once, the connection would take the answer along."""
LAG_LIMIT_SECONDS = 0.5
"""A process that is later than this with everything has more than it can do, and says that it is not ready."""
_FILES_KEPT = 512
_SWEEP_SECONDS = 0.5
_ON_LAST_ANSWER = "".join(
    f"{name}: {value}\r\n"
    for name, value in (
        ("Content-Length", "0"),
        ("Connection", "close"),
        ("Server", "wegit"),
        *ON_EVERY_ANSWER,
        *SECURITY_HEADERS,
    )
)
Handle = Callable[[BaseRequest], Awaitable[web.StreamResponse]]
log = structlog.get_logger()


class Connection(RefusingRequestHandler):
    """One connection. Its times are those of the last sweep: to the half second is near enough, and costs nothing."""

    __slots__ = (
        "_all",
        "_caller",
        "_closing_since",
        "_head_since",
        "_idle_since",
        "_is_busy",
        "_paused_since",
        "_wire",
        "peer",
    )

    def __init__(self, manager: web.Server, connections: "Connections", **options: Any) -> None:
        super().__init__(manager, **options)
        self._all = connections
        self._wire: asyncio.Transport | None = None
        self._caller = self.peer = ""
        self._is_busy = False
        self._idle_since = connections.now
        self._head_since: float | None = None
        self._paused_since: float | None = None
        self._closing_since: float | None = None

    @property
    def stays(self) -> bool:
        """Whether the connection may take another request after the one under way."""
        return not self._all.is_draining

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self.peer = (transport.get_extra_info("peername") or ("",))[0]
        self._caller = network_of(self.peer)
        if not self._all.admit(self, self._caller, self.peer):
            transport.write(_last_answer("503 Service Unavailable", "Retry-After: 5\r\n"))
            transport.close()
            return
        self._wire = transport
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._wire is not None:
            self._wire = None
            self._all.forget(self, self._caller)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if data and self._head_since is None and not self._is_busy:
            self._head_since = self._all.now
        super().data_received(data)

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        response = super().handle_error(request, status, exc, message)
        response.headers.update((*ON_EVERY_ANSWER, *SECURITY_HEADERS))
        return response

    def begin_request(self) -> None:
        """The handler has a whole head; from here on deadlines are its own."""
        self._is_busy = True
        self._head_since = None

    def end_request(self) -> None:
        """The answer is written."""
        self._is_busy = False
        self._idle_since = self._all.now

    async def drain(self) -> None:
        """Wait until the caller has taken enough of what was written; who leaves meanwhile cancels it."""
        await StreamWriter(self, asyncio.get_running_loop()).drain()

    def pause_writing(self) -> None:
        self._paused_since = self._all.now
        super().pause_writing()

    def resume_writing(self) -> None:
        self._paused_since = None
        super().resume_writing()

    def check(self, now: float, idle_seconds: float) -> None:
        """End it when it has been too slow, or idle for longer than it may be."""
        wire = self._wire
        if wire is None:
            return
        if wire.is_closing():
            if self._closing_since is None:
                self._closing_since = now
            elif now - self._closing_since > CLOSE_SECONDS:
                wire.abort()
        elif self._paused_since is not None:
            if now - self._paused_since > READER_SECONDS:
                self._all.cut_readers += 1
                wire.abort()
        elif self._is_busy:
            return
        elif self._head_since is not None:
            if now - self._head_since > HEAD_SECONDS:
                self._all.cut_heads += 1
                wire.write(_last_answer("408 Request Timeout"))
                self.force_close()
        elif now - self._idle_since > idle_seconds:
            self.force_close()


class Connections:
    """All of one process's."""

    def __init__(self, trusted_proxies: tuple[Network, ...], *, limit: int | None = None) -> None:
        self._trusted_proxies = trusted_proxies
        self._open: set[Connection] = set()
        self._by_caller: Counter[str] = Counter()
        self.limit = limit if limit is not None else min(CONNECTIONS_LIMIT, _file_limit() - _FILES_KEPT)
        self.now = asyncio.get_running_loop().time()
        self.is_leaving = self.is_draining = False
        self.lag_seconds = 0.0
        """How late the event loop is, as a moving mean."""
        self.refused = self.cut_heads = self.cut_readers = 0
        """Since the start: turned away for their number, ended for a slow head, for not reading."""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_crowded(self) -> bool:
        """More than three quarters are taken."""
        return len(self._open) > self.limit * 3 // 4

    async def is_well(self) -> bool:
        """Whether more can be taken on: not when the process is leaving, nearly full, or late with everything."""
        is_full = len(self._open) > self.limit * 19 // 20
        return not (self.is_leaving or is_full or self.lag_seconds > LAG_LIMIT_SECONDS)

    def details(self) -> dict[str, Any]:
        """What there is to say of it."""
        return {
            "leaving": self.is_leaving,
            "connections": len(self._open),
            "connections_limit": self.limit,
            "lag_seconds": round(self.lag_seconds, 3),
        }

    def admit(self, connection: Connection, caller: str, address: str) -> bool:
        """Count a new connection in, unless there are too many."""
        has_many = self._by_caller[caller] >= CALLER_LIMIT and not is_trusted(address, self._trusted_proxies)
        if has_many or len(self._open) >= self.limit:
            self.refused += 1
            return False
        self._open.add(connection)
        self._by_caller[caller] += 1
        return True

    def forget(self, connection: Connection, caller: str) -> None:
        """Count a lost connection out."""
        self._open.discard(connection)
        self._by_caller[caller] -= 1
        if not self._by_caller[caller]:
            del self._by_caller[caller]

    def sweep(self) -> None:
        """Look at each connection once."""
        self.now = asyncio.get_running_loop().time()
        idle_seconds = CROWDED_IDLE_SECONDS if self.is_crowded else KEEPALIVE_SECONDS
        for connection in tuple(self._open):
            connection.check(self.now, idle_seconds)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Sweep every half second while the context is open."""

        async def keep_sweeping() -> None:
            loop = asyncio.get_running_loop()
            while True:
                self.sweep()
                due = loop.time() + _SWEEP_SECONDS
                await asyncio.sleep(_SWEEP_SECONDS)
                self.lag_seconds += (loop.time() - due - self.lag_seconds) / 4

        async with running("connections", keep_sweeping):
            yield

    async def drain(self) -> None:
        """Have each answer end its connection; return when all are gone, or the rest have been idle for some time.

        An idle connection is not closed at once, as its caller may be sending a request just then.
        """
        self.is_draining = True
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                while self._open:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            log.info("connections.left", count=len(self._open))


class Server(RefusingServer):
    """aiohttp's server, with a protocol of ours for each connection."""

    def __init__(self, handle: Handle, make_connection: Callable[..., Connection]) -> None:
        super().__init__(handle, **CONNECTION_OPTIONS, lingering_time=LINGER_SECONDS)
        self._make_connection = make_connection

    def __call__(self) -> RequestHandler:
        return self._make_connection(self, loop=self._loop, **self._kwargs)


def make_server_runner(
    handle: Handle, connections: Connections, make_connection: Callable[..., Connection] = Connection
) -> web.ServerRunner:
    """What listens for callers, and hands each of their requests to `handle`. Needs a running loop."""
    server = Server(handle, partial(make_connection, connections=connections))
    return web.ServerRunner(server, shutdown_timeout=SHUTDOWN_GRACE_SECONDS)


def _last_answer(status: str, fields: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{fields}{_ON_LAST_ANSWER}X-Request-Id: {well_formed_or_new(None)}\r\n\r\n".encode()


def _file_limit() -> int:
    """How many files the process may have open: as many as it can be given."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        wanted = hard if hard != resource.RLIM_INFINITY else 65_536
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

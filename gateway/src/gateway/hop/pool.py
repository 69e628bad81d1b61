"""The connections to one replica: how many there may be, which are free, and when a free one is too old."""

import asyncio
import ssl
from typing import NamedTuple

from gateway.hop.connection import Connection
from gateway.outbox import Outbox
from service_kit.errors import UpstreamUnreachable
from service_kit.request_id import outside_of_requests
from service_kit.server import KEEPALIVE_SECONDS

CONNECTIONS_LIMIT = 256
FREE_LIMIT = 64
FREE_SECONDS = KEEPALIVE_SECONDS - 15
"""Well before the service would close it, so that no request meets the close on its way."""
CONNECT_TIMEOUT_SECONDS = 1.0


class Address(NamedTuple):
    """Where one replica listens; `host` is an IP address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class NotSent(UpstreamUnreachable):
    """No connection came about: the replica has seen nothing of the request."""


class Pool:
    """Every connection to one replica."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None, server_name: str) -> None:
        self._address = address
        self._tls = tls
        self._server_name = server_name
        self._free: list[Connection] = []
        self._all: set[Connection] = set()
        self._connecting = 0
        self._is_closed = False
        self._is_aborted = False
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()

    @property
    def free_connections(self) -> int:
        """How many wait for a request."""
        return len(self._free)

    @property
    def is_full(self) -> bool:
        """Whether there may be no further connection and none is free."""
        return not self._free and len(self._all) + self._connecting >= CONNECTIONS_LIMIT

    def take_free(self) -> Connection | None:
        """The connection that was used last, so that those too many grow old."""
        return self._free.pop() if self._free else None

    async def connect(self, end: float) -> Connection:
        """A new connection, by `end` (loop time) and within a second. Raises NotSent."""
        loop = self._loop
        self._connecting += 1
        try:
            async with asyncio.timeout_at(min(end, loop.time() + CONNECT_TIMEOUT_SECONDS)):
                with outside_of_requests():
                    _, connection = await loop.create_connection(
                        lambda: Connection(self._take_back, self._forget, self._outbox),
                        *self._address,
                        ssl=self._tls,
                        server_hostname=self._server_name if self._tls else None,
                    )
        except (OSError, ssl.SSLError) as error:  # a TimeoutError is an OSError
            raise NotSent(f"No connection: {type(error).__name__}.") from error
        finally:
            self._connecting -= 1
        self._all.add(connection)
        if self._is_aborted:
            connection.abort()
            raise NotSent("The gateway is stopping.")
        return connection

    def close_old(self, now: float) -> None:
        """End what has been free for too long; `now` is loop time."""
        while self._free and now - self._free[0].free_since > FREE_SECONDS:
            self._free.pop(0).abort()

    def close_free(self) -> None:
        """End what is free, now and from now on; what is in use goes on until its answer is whole."""
        self._is_closed = True
        while self._free:
            self._free.pop().abort()

    def abort(self) -> None:
        """End everything, what is being connected just now as well."""
        self.close_free()
        self._is_aborted = True
        for connection in list(self._all):
            connection.abort()

    def _take_back(self, connection: Connection) -> None:
        if self._is_closed or len(self._free) >= FREE_LIMIT:
            connection.abort()
        else:
            connection.free_since = self._loop.time()
            self._free.append(connection)

    def _forget(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._free:
            self._free.remove(connection)

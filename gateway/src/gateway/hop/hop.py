"""The hop to one service: a request goes to one of its replicas, and to another one if that may be."""

import asyncio
import random
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.hop.answer import ConnectionWentStale, HopAnswer
from gateway.hop.choice import choose
from gateway.hop.pool import Address, NotSent, Pool
from gateway.hop.replica import Replica, ReplicaState
from service_kit.errors import InvalidRequest, Overloaded, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from service_kit.retry import RetryBudget

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
MOST_TRIES = 3
TIMEOUT_HEADER = "X-Request-Timeout-Ms"
"""How long the gateway still waits for the answer's head, in milliseconds."""


class HopRequest(NamedTuple):
    """What a service gets to see; Host, Content-Length and the remaining time are added to its headers."""

    method: str
    target: str
    """In origin form, checked before; goes out byte for byte."""
    headers: list[tuple[str, str]]
    """Those that go on to a service (`headers.request_headers`)."""
    body: bytes | None


class Hop:
    """Everything between the gateway and one service; nothing of it is shared with another's."""

    def __init__(self, service: str, url: str) -> None:
        """`service` is how callers and logs read it; `url` its base."""
        self._service = service
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._path = parts.path.rstrip("/")
        self._host_header = parts.netloc
        self._replicas: tuple[Replica, ...] = ()
        self._budget = RetryBudget()
        self._turn = 0

    async def start(self) -> None:
        """Find the replicas."""
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port)
        addresses = dict.fromkeys(Address(str(one[4][0]), self._port) for one in found)
        self._replicas = tuple(Replica(address, Pool(address, self._tls, self._host)) for address in addresses)

    async def close(self) -> None:
        """End every connection, whatever is under way."""
        for replica in self._replicas:
            replica.pool.abort()

    def replicas(self) -> list[ReplicaState]:
        """Each replica as it is now."""
        now = asyncio.get_running_loop().time()
        return [replica.state(now) for replica in self._replicas]

    async def send(self, request: HopRequest, *, timeout_seconds: float) -> HopAnswer:
        """The answer's head, its body yet to be read; cancelled, the replica's work is cancelled as well.

        A try that brought no answer is made again on another replica: if the method is idempotent, or nothing was
        sent yet, and while the budget for it lasts. Raises UpstreamUnreachable, UpstreamTimeout, UpstreamFault or
        Overloaded, which name the service.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_seconds
        self._budget.note_call()
        is_idempotent = request.method in IDEMPOTENT_METHODS
        tried: list[Replica] = []
        while True:
            now = loop.time()
            replica = self._choose(tried, now)
            try:
                return await replica.exchange(
                    self._encode(request, end - now), request.method, end, may_reuse=is_idempotent and not tried
                )
            except UpstreamFault as error:
                tried.append(replica)
                if not self._may_try_again(error, tried, is_idempotent=is_idempotent, remains=end - loop.time()):
                    raise self._named(error) from error

    def _choose(self, tried: list[Replica], now: float) -> Replica:
        candidates = [one for one in self._replicas if one not in tried and not one.pool.is_full]
        if not candidates:
            if tried:
                return tried[-1]
            if not self._replicas:
                raise UpstreamUnreachable(f"The {self._service} has no address.")
            raise Overloaded(f"The {self._service} has all it can take.", retry_after_seconds=1)
        self._turn += 1
        return choose(candidates, lambda one: one.load(now), self._turn, random.random())  # noqa: S311

    def _may_try_again(
        self, error: UpstreamFault, tried: list[Replica], *, is_idempotent: bool, remains: float
    ) -> bool:
        if isinstance(error, UpstreamTimeout) or remains <= 0 or len(tried) == MOST_TRIES:
            return False
        if not is_idempotent and not isinstance(error, NotSent):
            return False
        has_other = any(one not in tried and not one.pool.is_full for one in self._replicas)
        return (has_other or isinstance(error, ConnectionWentStale)) and self._budget.spend()

    def _encode(self, request: HopRequest, remains: float) -> bytes:
        method, target, headers, body = request
        lines = [f"{method} {self._path}{target} HTTP/1.1", f"Host: {self._host_header}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines.append(f"{TIMEOUT_HEADER}: {max(int(remains * 1000), 1)}")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        elif method not in ("GET", "HEAD"):
            lines.append("Content-Length: 0")
        head = "\r\n".join(lines)
        # What goes in was checked, each part by its own rule. This holds whatever they missed.
        if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1 or "\0" in head:
            raise InvalidRequest("The request has line breaks where none can be.")
        return f"{head}\r\n\r\n".encode("utf-8", "surrogateescape") + (body or b"")

    def _named(self, error: UpstreamFault) -> UpstreamFault:
        if isinstance(error, UpstreamTimeout):
            return UpstreamTimeout(f"The {self._service} did not answer in time.")
        if isinstance(error, UpstreamUnreachable):
            return UpstreamUnreachable(f"The {self._service} cannot be reached.")
        return UpstreamFault(f"The {self._service} gave an answer that is not HTTP.")

"""The hop to one service: a request goes to one of its replicas, and to another one if that may be."""

import asyncio
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog

from gateway.hop.answer import ConnectionWentStale, HopAnswer
from gateway.hop.pool import NotSent
from gateway.hop.replica import Replica, ReplicaState
from gateway.hop.replicas import Replicas
from gateway.hop.resolver import Lookup, look_up
from service_kit.errors import (
    InvalidRequest,
    Overloaded,
    ServiceError,
    UpstreamFault,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from service_kit.patience import HEADER as TIMEOUT_HEADER
from service_kit.retry import RetryBudget

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
MOST_TRIES = 3
RETRIES_PER_REQUEST = 0.2
RETRIES_SAVED_UP = 100.0
"""By 500 requests: what may be tried again at once when a replica dies with that many under way."""
log = structlog.get_logger()


class HopRequest(NamedTuple):
    """What a service gets to see; Host, Content-Length and the remaining time are added to its headers."""

    method: str
    target: str
    """In origin form, checked before; goes out byte for byte."""
    headers: list[tuple[str, str]]
    """Those that go on to a service (`headers.request_headers`)."""
    body: bytes | None


class FirstTry(NamedTuple):
    """A request that is with a replica, its answer yet to be waited for until `end` (loop time)."""

    replica: Replica
    answer: HopAnswer
    end: float


class Hop:
    """Everything between the gateway and one service; nothing of it is shared with another's."""

    def __init__(self, service: str, url: str, lookup: Lookup = look_up) -> None:
        """`service` is how callers and logs read it; `url` its base; `lookup` gives the addresses of its name."""
        self._service = service
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._replicas = Replicas(service, parts.hostname or "", port, tls, lookup)
        self._path = parts.path.rstrip("/")
        self._host_line = f"Host: {parts.netloc}"
        self._budget = RetryBudget(RETRIES_PER_REQUEST, most=RETRIES_SAVED_UP)
        self._retries = 0
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Find the replicas, if they can be found within a second, and go on looking for them."""
        await self._replicas.start()

    async def close(self) -> None:
        """End every connection, whatever is under way."""
        await self._replicas.close()

    @property
    def retries(self) -> int:
        """All tries so far beyond each request's first."""
        return self._retries

    @property
    def retries_left(self) -> float:
        """How many the budget would bear just now."""
        return self._budget.balance

    def replicas(self) -> list[ReplicaState]:
        """Each replica as it is now."""
        now = asyncio.get_running_loop().time()
        return [replica.state(now) for replica in self._replicas]

    def begin(self, request: HopRequest, *, timeout_seconds: float) -> FirstTry | None:
        """Send a request at once, where a connection is free; None, and nothing has happened, where there is none.

        Who takes the answer as it comes (`HopAnswer.on_progress`) needs no task; what then goes wrong is for `send`.
        """
        now = self._loop.time()
        encoded = self._encode(request, timeout_seconds)
        replica = self._replicas.choose(now)
        connection = replica.pool.take_free() if replica is not None else None
        if replica is None or connection is None:
            self._replicas.choose_again()
            return None
        self._budget.note_call()
        answer = replica.begin(connection, encoded, request.method)
        answer.end = end = now + timeout_seconds
        return FirstTry(replica, answer, end)

    async def send(self, request: HopRequest, *, timeout_seconds: float, begun: FirstTry | None = None) -> HopAnswer:
        """The answer's head, its body yet to be read; cancelled, the replica's work is cancelled as well.

        A try that brought no answer is made again on another replica: if the method is idempotent, or nothing was
        sent yet, and while the budget for it lasts. `begun` is the first one, where it is under way. Raises
        UpstreamUnreachable, UpstreamTimeout, UpstreamFault or Overloaded, which name the service.
        """
        loop = self._loop
        if begun is None:
            now = loop.time()
            end = now + timeout_seconds
            self._budget.note_call()
            chosen = self._replicas.choose(now)
            if chosen is None:
                raise self._refusal()
            replica = chosen
        else:
            now, (replica, _, end) = 0.0, begun
        may_reuse = request.method in IDEMPOTENT_METHODS
        tried: list[Replica] = []
        while True:
            try:
                if begun is not None:
                    await begun.answer.wait_for_head(end)
                    return begun.answer
                return await replica.exchange(
                    self._encode(request, end - now), request.method, end, may_reuse=may_reuse
                )
            except UpstreamFault as error:
                begun = None
                tried.append(replica)
                now = loop.time()
                following = self._choose_after(error, tried, request.method, now, end)
                if following is None:
                    raise self._named(error) from error
                log.info("upstream.tried_again", upstream=self._service, error=error.detail, tries=len(tried))
                self._retries += 1
                replica = following
                may_reuse = False

    def _choose_after(
        self, error: UpstreamFault, tried: list[Replica], method: str, now: float, end: float
    ) -> Replica | None:
        """Where to try again; None where that may not be."""
        if now >= end or len(tried) == MOST_TRIES:
            return None
        if method not in IDEMPOTENT_METHODS and not isinstance(error, NotSent):
            return None
        other = self._replicas.choose(now, tried)
        if other is None and isinstance(error, ConnectionWentStale):
            other = tried[-1]
        return other if other is not None and self._budget.spend() else None

    def _refusal(self) -> ServiceError:
        if self.replicas():
            return Overloaded(f"The {self._service} has all it can take.", retry_after_seconds=1)
        return UpstreamUnreachable(f"The {self._service} cannot be reached.")

    def _encode(self, request: HopRequest, remains: float) -> bytes:
        method, target, headers, body = request
        lines = [f"{method} {self._path}{target} HTTP/1.1", self._host_line]
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

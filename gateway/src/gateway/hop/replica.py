"""One replica of a service: its connections, what it has under way, and how it has done lately."""

import asyncio
from typing import NamedTuple

from gateway.hop.answer import HopAnswer
from gateway.hop.choice import Latency
from gateway.hop.pool import Address, Pool


class ReplicaState(NamedTuple):
    """What metrics and readiness tell of a replica."""

    address: str
    state: str
    """`active`, `ejected` (it failed, and is left alone for a while) or `leaving` (its name is no longer its)."""
    in_flight: int
    free_connections: int
    requests: int
    """All that were sent to it, tries after the first among them."""
    failures: int
    """Those without an answer, or with one that broke off."""
    latency_seconds: float
    """Until an answer's head, as a moving mean; falls by itself while nothing is asked."""


class Replica:
    """Takes requests for one address."""

    def __init__(self, address: Address, pool: Pool) -> None:
        self.address = address
        self.pool = pool
        self.latency = Latency()
        self.in_flight = 0
        self.requests = 0
        self.failures = 0
        self.is_leaving = False
        self._now = asyncio.get_running_loop().time

    def load(self, now: float) -> float:
        """What its next request has to wait for, by guess; to be compared with other replicas'."""
        return (self.in_flight + 1) * self.latency.at(now)

    async def exchange(self, request: bytes, method: str, end: float, *, may_reuse: bool) -> HopAnswer:
        """Send a request and wait for the answer's head until `end` (loop time).

        `may_reuse` lets it go over a kept connection, which may turn out to be stale. Raises UpstreamUnreachable
        (NotSent and ConnectionWentStale among it), UpstreamTimeout or UpstreamFault.
        """
        self.in_flight += 1
        self.requests += 1
        try:
            connection = (self.pool.take_free() if may_reuse else None) or await self.pool.connect(end)
            answer = HopAnswer(connection, method, end, self._note_end)
        except BaseException:
            self.in_flight -= 1
            self.failures += 1
            raise
        started = self._now()
        connection.send(request, answer)
        await answer.wait_for_head()
        now = self._now()
        self.latency.note(now - started, now)
        return answer

    def leave(self) -> None:
        """Its name is no longer its: what is under way may end, nothing new comes."""
        self.is_leaving = True
        self.pool.close_free()

    def state(self, now: float) -> ReplicaState:
        """As it is now."""
        return ReplicaState(
            str(self.address),
            "leaving" if self.is_leaving else "active",
            self.in_flight,
            self.pool.free_connections,
            self.requests,
            self.failures,
            self.latency.at(now),
        )

    def _note_end(self, answer: HopAnswer) -> None:
        self.in_flight -= 1
        if answer.failure is not None:
            self.failures += 1

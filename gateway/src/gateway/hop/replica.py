"""One replica of a service: its connections, what it has under way, and how it has done lately."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import structlog

from gateway.hop.answer import ConnectionWentStale, HopAnswer
from gateway.hop.choice import Latency
from gateway.hop.connection import Connection
from gateway.hop.ejection import Health, Standing
from gateway.hop.pool import Address, Pool
from service_kit.errors import UpstreamFault, UpstreamUnreachable

SILENT_SECONDS = 2.0
"""A request waits and nothing at all came for so long: time to look whether the replica lives."""
log = structlog.get_logger()


class ReplicaState(NamedTuple):
    """What metrics and readiness tell of a replica."""

    address: str
    state: str
    """`active`, `ejected` (it failed, and is left alone for a while), `on_trial` (one request will show) or `leaving`
    (its address is no longer the service's)."""
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

    def __init__(self, address: Address, pool: Pool, on_trouble: Callable[["Replica"], None]) -> None:
        """`on_trouble` is called after each failure and each status of 500 or more, for its health to be judged."""
        self._on_trouble = on_trouble
        self.address = address
        self.pool = pool
        self.health = Health()
        self.latency = Latency()
        self.in_flight = 0
        self.is_leaving = False
        self._requests = 0
        self._failures = 0
        self._under_way: set[HopAnswer] = set()
        self._now = asyncio.get_running_loop().time
        self._heard_at = self._now()

    @property
    def is_available(self) -> bool:
        """Whether a request may go to it."""
        standing = self.health.standing
        return (
            standing is Standing.ACTIVE or (standing is Standing.ON_TRIAL and not self.in_flight)
        ) and not self.pool.is_full

    def load(self, now: float) -> float:
        """What its next request has to wait for, by guess; to be compared with other replicas'."""
        return (self.in_flight + 1) * self.latency.at(now)

    async def exchange(self, request: bytes, method: str, end: float, *, may_reuse: bool) -> HopAnswer:
        """Send a request and wait for the answer's head until `end` (loop time).

        `may_reuse` lets it go over a kept connection, which may turn out to be stale. Raises UpstreamUnreachable
        (NotSent and ConnectionWentStale among it), UpstreamTimeout or UpstreamFault.
        """
        connection = self.pool.take_free() if may_reuse else None
        if connection is None:
            self.in_flight += 1
            try:
                connection = await self.pool.connect(end)
            except UpstreamFault as failure:
                self._requests += 1
                self._note_failure(failure)
                raise
            finally:
                self.in_flight -= 1
        answer = self.begin(connection, request, method)
        await answer.wait_for_head(end)
        return answer

    def begin(self, connection: Connection, request: bytes, method: str) -> HopAnswer:
        """Send a request over a connection that the pool has given away; the answer is yet to be waited for."""
        self.in_flight += 1
        self._requests += 1
        answer = HopAnswer(connection, method, self._note_end, self._note_head)
        self._under_way.add(answer)
        answer.began_at = self._now()
        connection.send(request, answer)
        return answer

    async def is_live(self, request: bytes, timeout_seconds: float) -> bool:
        """Whether it answers anything at all to a request of our own, on a connection of its own."""
        end = self._now() + timeout_seconds
        answer = None
        try:
            async with asyncio.timeout_at(end):
                connection = await self.pool.connect(end)
                answer = HopAnswer(connection, "GET", _ignore)
                connection.send(request, answer)
                await answer.wait_for_head(end)
        except (UpstreamFault, TimeoutError):
            return False
        finally:
            if answer is not None:
                answer.close()
        self._heard_at = self._now()
        return True

    def is_silent(self, now: float) -> bool:
        """Whether requests wait at it, and nothing has come from it for a while."""
        began_before = now - SILENT_SECONDS
        return self._heard_at < began_before and any(
            answer.status == 0 and answer.began_at < began_before for answer in self._under_way
        )

    def end_overdue(self, now: float) -> None:
        """Fail what has run out of its time."""
        for answer in [one for one in self._under_way if one.end < now]:
            answer.run_out_of_time()

    def give_up(self) -> None:
        """It hangs: whatever still waits for an answer to begin is better tried elsewhere."""
        for answer in [one for one in self._under_way if one.status == 0]:
            answer.fail(UpstreamUnreachable("The replica does not answer anything any more."))

    def abort(self) -> None:
        """End everything, whatever is under way."""
        for answer in list(self._under_way):
            answer.fail(UpstreamUnreachable("The gateway is stopping."))
        self.pool.abort()

    def leave(self) -> None:
        """Its address is no longer the service's: what is under way may end, nothing new comes."""
        self.is_leaving = True
        self.pool.close_free()

    def state(self, now: float) -> ReplicaState:
        """As it is now."""
        return ReplicaState(
            str(self.address),
            "leaving" if self.is_leaving else self.health.standing.value,
            self.in_flight,
            self.pool.free_connections,
            self._requests,
            self._failures,
            self.latency.at(now),
        )

    def _note_head(self, answer: HopAnswer) -> None:
        self._heard_at = now = self._now()
        self.latency.note(now - answer.began_at, now)

    def _note_end(self, answer: HopAnswer) -> None:
        self.in_flight -= 1
        self._under_way.discard(answer)
        if answer.failure is not None:
            self._note_failure(answer.failure)
        elif answer.is_complete:
            well = answer.status < 500
            self.health.note_answer(well=well)
            if not well:
                self._on_trouble(self)
            elif self.health.is_shown_by(answer.began_at):
                self.health.restore()
                log.info("replica.restored", address=str(self.address))

    def _note_failure(self, failure: UpstreamFault) -> None:
        self._failures += 1
        if not isinstance(failure, ConnectionWentStale):  # the connection's age says nothing of the replica
            self.health.note_failure()
            self._on_trouble(self)


def _ignore(_answer: HopAnswer) -> None:
    pass

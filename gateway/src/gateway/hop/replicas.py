"""The replicas of one service: who they are just now, which of them gets a request, and who is left alone."""

import asyncio
import random
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack

import structlog

from gateway.hop.choice import choose
from gateway.hop.ejection import Standing, may_eject
from gateway.hop.pool import Address, Pool
from gateway.hop.replica import Replica
from gateway.hop.resolver import Lookup, Resolver
from service_kit.tasks import running

WATCH_INTERVAL_SECONDS = 0.1
LIVE_TIMEOUT_SECONDS = 1.0
log = structlog.get_logger()


class Replicas:
    """Follows the service's name, and watches over what it stands for."""

    def __init__(self, service: str, host: str, port: int, tls: ssl.SSLContext | None, lookup: Lookup) -> None:
        self._service = service
        self._host = host
        self._tls = tls
        self._resolver = Resolver(host, port, self._follow, lookup)
        self._live_request = f"GET /health/live HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
        self._present: tuple[Replica, ...] = ()
        self._leaving: set[Replica] = set()
        self._looked_at: set[Replica] = set()
        self._turn = 0
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Find the replicas, if they can be found within a second, and go on looking."""
        await self._resolver.refresh()
        await self._stack.enter_async_context(running(f"watch-{self._service}", self._watch))
        if not self._resolver.is_fixed:
            await self._stack.enter_async_context(running(f"resolve-{self._service}", self._resolver.run))

    async def close(self) -> None:
        """Stop looking, and end every connection."""
        await self._stack.aclose()
        for replica in (*self._present, *self._leaving):
            replica.abort()

    def __iter__(self) -> Iterator[Replica]:
        return iter((*self._present, *self._leaving))

    def choose(self, now: float, tried: list[Replica] | None = None) -> Replica | None:
        """The one for the next request, none of those `tried`; an ejected one only where there is no other."""
        present = self._present
        if len(present) == 1 and not tried:
            return None if present[0].pool.is_full else present[0]
        candidates = [one for one in present if one.is_available]
        if tried:
            candidates = [one for one in candidates if one not in tried]
        if not candidates:
            candidates = [one for one in present if not one.pool.is_full and one not in (tried or ())]
            if not candidates:
                return None
        self._turn += 1
        return choose(candidates, lambda one: one.load(now), self._turn, random.random())  # noqa: S311 - no secret

    def choose_again(self) -> None:
        """Nothing came of the last choice: the next one is in its place, or whose turn it was would never have one."""
        self._turn -= 1

    def _follow(self, addresses: frozenset[Address]) -> None:
        known = {replica.address: replica for replica in self._present}
        gone = [replica for address, replica in known.items() if address not in addresses]
        for replica in gone:
            replica.leave()
        self._leaving.update(replica for replica in gone if replica.in_flight)
        self._present = tuple(
            known.get(address) or Replica(address, Pool(address, self._tls, self._host), self._judge)
            for address in sorted(addresses)
        )
        log.info("replicas.changed", upstream=self._service, addresses=[str(one.address) for one in self._present])

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as looks:
            while True:
                await asyncio.sleep(WATCH_INTERVAL_SECONDS)
                now = loop.time()
                self._leaving = {replica for replica in self._leaving if replica.in_flight}
                for replica in self:
                    replica.end_overdue(now)
                    replica.pool.close_old(now)
                for replica in self._present:
                    if replica not in self._looked_at and self._is_worth_a_look(replica, now):
                        self._looked_at.add(replica)
                        looks.create_task(self._look_at(replica))

    def _judge(self, replica: Replica) -> None:
        # At once, as a replica that refuses quickly looks like the least loaded one.
        health = replica.health
        others = [one.health.failure_share for one in self._present if one is not replica]
        if health.standing is Standing.EJECTED or not others:
            return
        if health.standing is Standing.ON_TRIAL or health.stands_out(sum(others) / len(others)):
            self._eject(replica, asyncio.get_running_loop().time(), "it fails where others do not")

    def _is_worth_a_look(self, replica: Replica, now: float) -> bool:
        return replica.health.is_due(now) or (len(self._present) > 1 and replica.is_silent(now))

    async def _look_at(self, replica: Replica) -> None:
        try:
            lives = await replica.is_live(self._live_request, LIVE_TIMEOUT_SECONDS)
        finally:
            self._looked_at.discard(replica)
        now = asyncio.get_running_loop().time()
        if replica.health.standing is Standing.EJECTED:
            if lives:
                replica.health.try_one()
            else:
                replica.health.eject(now)
        elif not lives and self._eject(replica, now, "it hangs"):
            replica.give_up()

    def _eject(self, replica: Replica, now: float, reason: str) -> bool:
        out = sum(one.health.standing is not Standing.ACTIVE for one in self._present if one is not replica)
        if not may_eject(len(self._present), out):
            return False
        replica.health.eject(now)
        log.warning("replica.ejected", upstream=self._service, address=str(replica.address), reason=reason)
        return True

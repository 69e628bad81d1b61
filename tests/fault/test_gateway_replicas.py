"""Replicas that die, halt, lie, slow down or are restarted under load: what callers notice of it. Real processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from gateway.hop import ejection
from gateway.hop.hop import Hop, HopRequest
from local.stack import free_ports
from service_kit.errors import ServiceError
from tests.fakes.named_replicas import NAME, Names
from tests.fakes.replica_process import ReplicaProcess
from tests.fakes.waiting import until

GET = HopRequest("GET", "/trending-repositories", [], None)
AT_ONCE = 8


class Load:
    """Callers who ask one request after the other, and what became of it."""

    def __init__(self, hop: Hop) -> None:
        self._hop = hop
        self.answered = 0
        self.failed: list[str] = []

    async def run(self) -> None:
        """One caller."""
        while True:
            try:
                answer = await self._hop.send(GET, timeout_seconds=15)
                assert (answer.status, await answer.read(100)) == (200, b"[]")
                self.answered += 1
            except ServiceError as error:
                self.failed.append(error.detail)

    async def more(self, requests: int) -> None:
        """Wait until so many more have been answered."""
        enough = self.answered + requests
        await until(lambda: self.answered >= enough, seconds=30)


class Running:
    """The replicas, the hop to them, and the load on it."""

    def __init__(self, hop: Hop, processes: list[ReplicaProcess], load: Load) -> None:
        self.hop = hop
        self.processes = processes
        self.load = load

    def state(self, process: ReplicaProcess) -> str:
        """What the hop thinks of it."""
        return next(one.state for one in self.hop.replicas() if one.address.startswith(f"{process.host}:"))

    def is_active(self, process: ReplicaProcess) -> bool:
        """Whether it gets requests as the others do."""
        return self.state(process) == "active"

    def asked(self, process: ReplicaProcess) -> int:
        """How many requests it was sent."""
        return next(one.requests for one in self.hop.replicas() if one.address.startswith(f"{process.host}:"))


@asynccontextmanager
async def under_load(replicas: int = 2) -> AsyncIterator[Running]:
    """At the end hardly a request may have failed, and hardly one may have been tried again."""
    (port,) = free_ports(1)
    async with AsyncExitStack() as stack:
        processes = [ReplicaProcess(f"127.0.0.{number}", port) for number in range(1, replicas + 1)]
        await asyncio.gather(*(stack.enter_async_context(process) for process in processes))
        hop = Hop("repo-service", f"http://{NAME}:{port}", Names([process.host for process in processes]))
        await hop.start()
        stack.push_async_callback(hop.close)
        load = Load(hop)
        callers = [asyncio.create_task(load.run()) for _ in range(AT_ONCE)]
        try:
            await load.more(100)
            yield Running(hop, processes, load)
        finally:
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
        asked = load.answered + len(load.failed)
        tries = sum(one.requests for one in hop.replicas())
        print(f"{asked} requests, {len(load.failed)} failed, {tries} tries; {hop.replicas()}")
        assert len(load.failed) <= asked / 1000, load.failed[:5]
        assert tries <= asked * 1.2
        assert all(one.in_flight == 0 for one in hop.replicas())


async def test_a_replica_that_is_killed_is_not_missed_and_comes_back() -> None:
    async with under_load() as running:
        first = running.processes[0]
        first.kill()
        await until(lambda: running.state(first) == "ejected")
        before = running.asked(first)
        await running.load.more(300)
        assert running.asked(first) == before
        await first.start()
        await until(lambda: running.is_active(first), seconds=30)
        await running.load.more(100)


async def test_a_replica_that_hangs_is_not_missed_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ejection, "FIRST_PAUSE_SECONDS", 0.2)
    async with under_load() as running:
        first = running.processes[0]
        first.halt()
        await until(lambda: running.state(first) == "ejected")
        await running.load.more(300)
        first.go_on()
        await until(lambda: running.is_active(first), seconds=30)
        await running.load.more(100)


async def test_replicas_are_restarted_one_after_the_other_without_anybody_noticing() -> None:
    async with under_load() as running:
        for process in running.processes:
            await process.stop()
            await running.load.more(100)
            await process.start()
            await until(partial(running.is_active, process), seconds=30)
            await running.load.more(100)
        assert running.load.failed == []


async def test_a_replica_that_lies_is_not_believed() -> None:
    async with under_load() as running:
        first = running.processes[0]
        await first.stop()
        await first.start(LIES="1")
        await running.load.more(500)
        assert running.state(first) in {"ejected", "on_trial"}


async def test_a_replica_that_is_slow_gets_little() -> None:
    async with under_load() as running:
        first, second = running.processes
        await first.stop()
        await first.start(SLOW_SECONDS="0.5")
        await until(lambda: running.is_active(first), seconds=30)
        before = running.asked(first), running.asked(second)
        await running.load.more(500)
        assert running.asked(first) - before[0] < (running.asked(second) - before[1]) / 5

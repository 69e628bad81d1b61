"""Replicas killed, hung, slow, lying or restarted under load: what callers of the whole gateway notice. Real processes."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.hop.ejection import FAILURES_IN_A_ROW
from gateway.hop.replica import SILENT_SECONDS
from local.stack import free_ports
from tests.fakes.gateway_process import GatewayProcess, gateway_process
from tests.fakes.named_replicas import NAME
from tests.fakes.raw_upstream import Behave, RawUpstream, raw_upstream, sends
from tests.fakes.replica_process import ReplicaProcess
from tests.fakes.waiting import until
from tests.fault.test_gateway_processes import Load

HOSTS = ["127.0.0.1", "127.0.0.2"]
CALLERS = 20
UNCACHED = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\n[]"


class UnderLoad:
    """A gateway process whose developer-service is a name of two addresses, and the load on it."""

    def __init__(self, gateway: GatewayProcess, port: int) -> None:
        self.load = Load(gateway, CALLERS)
        self.gateway = gateway
        self._port = port

    async def more(self, requests: int) -> None:
        """Wait until so many more have been answered."""
        enough = self.load.answered + requests
        await until(lambda: self.load.answered >= enough, seconds=30)

    async def tries(self) -> list[float]:
        """How many requests were sent to each address."""
        _, page = await self.gateway.internal("/metrics")
        counts = (
            re.search(rf"(?m)^gateway_replica_requests_total{self._labels(host)}}} (\S+)$", page) for host in HOSTS
        )
        return [float(count[1]) if count else 0.0 for count in counts]

    async def wait_until(self, host: str, state: str) -> None:
        """Until the gateway takes the replica for one that is in this state."""
        await self._wait_for(f'gateway_replica_state{self._labels(host)},state="{state}"}} 1.0')

    async def wait_until_nothing_waits_at(self, host: str) -> None:
        await self._wait_for(f"gateway_replica_in_flight{self._labels(host)}}} 0.0")

    async def _wait_for(self, line: str) -> None:
        await self.gateway.wait_until("/metrics", 200, line, seconds=10)

    def _labels(self, host: str) -> str:
        return f'{{replica="{host}:{self._port}",service="developer-service"'


@asynccontextmanager
async def under_load(port: int) -> AsyncIterator[UnderLoad]:
    """At the end hardly a request may have failed or been tried again, and no answer been a wrong one."""
    names, url = json.dumps({NAME: HOSTS}), f"http://{NAME}:{port}"
    async with gateway_process("tests.fakes.gateway_with_names", NAMES=names, DEVELOPER_SERVICE_URL=url) as gateway:
        await gateway.wait_until("/health/ready", 200)
        running = UnderLoad(gateway, port)
        load = running.load
        await running.more(200)
        yield running
        tries = sum(await running.tries())
        asked = load.answered + len(load.failed)
        gateway.process.send_signal(signal.SIGTERM)
        await load.end()
        print(f"{asked} requests, {len(load.failed)} failed, {tries:.0f} tries")
        assert load.bodies == {b"[]"}
        assert len(load.failed) <= asked / 1000, load.failed[:5]
        assert asked / 2 < tries <= asked * 1.2


@asynccontextmanager
async def replicas_under_load() -> AsyncIterator[tuple[UnderLoad, list[ReplicaProcess]]]:
    """As `under_load`, with a process at each address."""
    (port,) = free_ports(1)
    async with AsyncExitStack() as stack:
        replicas = [ReplicaProcess(host, port) for host in HOSTS]
        await asyncio.gather(*(stack.enter_async_context(replica) for replica in replicas))
        yield await stack.enter_async_context(under_load(port)), replicas


async def test_replicas_killed_and_restarted_under_load_cost_hardly_a_caller_an_answer() -> None:
    async with replicas_under_load() as (running, replicas):
        for replica in replicas:
            replica.kill()
            await running.more(300)
            await replica.start()
            await running.more(100)
            await replica.stop()
            await running.more(300)
            await replica.start()
            await running.more(100)


async def test_a_replica_that_hangs_under_load_costs_no_caller_an_answer_and_comes_back() -> None:
    async with replicas_under_load() as (running, (hanging, _)):
        hanging.halt()
        await running.wait_until(hanging.host, "ejected")
        await running.wait_until_nothing_waits_at(hanging.host)  # or what waits would be answered once it goes on
        await running.more(300)
        hanging.go_on()
        await running.wait_until(hanging.host, "active")
        await running.more(100)
    assert running.load.failed == []


async def test_a_replica_that_is_slow_under_load_gets_little_and_is_waited_for() -> None:
    async with replicas_under_load() as (running, (slow, _)):
        await slow.stop()
        await running.wait_until(slow.host, "ejected")
        await slow.start(SLOW_SECONDS=str(SILENT_SECONDS + 0.5))  # so that it is looked at, and found to live
        await running.wait_until(slow.host, "active")
        before = tries = await running.tries()
        while tries[0] < before[0] + 4:
            await running.more(100)
            tries = await running.tries()
        assert tries[0] - before[0] < (tries[1] - before[1]) / 5
    assert running.load.failed == []
    assert "it hangs" not in running.gateway.log


@asynccontextmanager
async def liar_under_load() -> AsyncIterator[tuple[UnderLoad, RawUpstream]]:
    """As `under_load`, with bare sockets; the first of them is to be told what to do."""
    async with (
        raw_upstream(sends(UNCACHED), HOSTS[0]) as liar,
        raw_upstream(sends(UNCACHED), HOSTS[1], liar.port),
        under_load(liar.port) as running,
    ):
        yield running, liar


LIES = [
    pytest.param(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 2\r\n\r\n[lie]"), id="two lengths"),
    pytest.param(sends(b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n[lie]"), id="a length that is none"),
    pytest.param(sends(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n[lie]"), id="a huge header"),
    pytest.param(sends(b"HTTP/1.1 200 OK\r\nContent-Le", then_closes=True), id="half a head"),
    pytest.param(sends(b"SSH-2.0-OpenSSH_9.2\r\n"), id="another protocol"),
]


@pytest.mark.parametrize("lies", LIES)
async def test_a_replica_that_lies_under_load_costs_no_caller_an_answer_and_comes_back(lies: Behave) -> None:
    async with liar_under_load() as (running, liar):
        liar.behave = lies
        await running.wait_until(liar.host, "ejected")
        await running.more(300)
        liar.behave = sends(UNCACHED)
        await running.wait_until(liar.host, "active")
        await running.more(100)
    assert running.load.failed == []


async def test_what_a_replica_sends_after_an_answer_is_nobodys_answer() -> None:
    async with liar_under_load() as (running, liar):
        liar.behave = sends(UNCACHED + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[lie]")
        lied = liar.asked
        await until(lambda: liar.asked > lied + 100)
        await running.more(300)
    assert running.load.failed == []


async def test_a_replica_whose_bodies_break_off_is_left_alone_and_none_is_taken_for_whole() -> None:
    async with liar_under_load() as (running, liar):
        cut = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 9\r\n\r\n[lie"
        liar.behave = sends(cut, then_closes=True)
        await running.wait_until(liar.host, "ejected")
        failed = running.load.failed
        await until(lambda: len(failed) >= FAILURES_IN_A_ROW)
        # Their heads were passed on, so each costs a caller his answer: as many as it takes, and were under way.
        assert len(failed) <= FAILURES_IN_A_ROW + CALLERS
        liar.behave = sends(UNCACHED)
        await running.wait_until(liar.host, "active")
        await until(lambda: len(failed) <= running.load.answered / 1000, seconds=30)

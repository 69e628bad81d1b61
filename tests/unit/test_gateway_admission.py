"""Who may pass to a service, who waits, who is turned away; and that no place is ever lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.admission import CALLER_LIMIT, Admission, Gate, TooManyAtOnce
from gateway.routes import Service
from service_kit.errors import Overloaded
from tests.fakes.waiting import until


@asynccontextmanager
async def a_place(gate: Gate) -> AsyncIterator[None]:
    await gate.enter("192.0.2.1")
    try:
        yield
    finally:
        gate.leave("192.0.2.1")


class Request:
    """A request that stays with the service until it is let go."""

    def __init__(self, gate: Gate) -> None:
        self._finish = asyncio.Event()
        self.is_inside = False
        self.task = asyncio.create_task(self._run(gate))

    async def _run(self, gate: Gate) -> None:
        async with a_place(gate):
            self.is_inside = True
            await self._finish.wait()

    async def finish(self) -> None:
        self._finish.set()
        await self.task


@pytest.fixture
def gate() -> Gate:
    return Gate(Service.REPO, under_way_limit=2, waiting_limit=1)


async def full(gate: Gate) -> list[Request]:
    """Both places taken, and one who waits."""
    requests = [Request(gate) for _ in range(3)]
    await until(lambda: gate.waiting == 1)
    return requests


async def test_who_finds_no_place_to_wait_is_turned_away_at_once(gate: Gate) -> None:
    requests = await full(gate)
    with pytest.raises(Overloaded) as raised:
        await Request(gate).task
    assert (raised.value.status, raised.value.code, raised.value.retry_after_seconds) == (503, "overloaded", 1)
    assert gate.refused == 1
    for request in requests:
        await request.finish()
    assert (gate.under_way, gate.waiting) == (0, 0)


async def test_a_place_goes_to_whoever_has_waited(gate: Gate) -> None:
    first, second, waiting = await full(gate)
    await first.finish()
    await until(lambda: waiting.is_inside)
    assert (gate.under_way, gate.waiting) == (2, 0)
    await second.finish()
    await waiting.finish()
    assert gate.under_way == 0


async def test_nobody_waits_long(gate: Gate) -> None:
    first, second, waiting = await full(gate)
    with pytest.raises(Overloaded):
        await waiting.task
    assert (gate.under_way, gate.waiting, gate.refused) == (2, 0, 1)
    await first.finish()
    await second.finish()
    assert gate.under_way == 0


async def test_a_caller_who_leaves_while_waiting_is_forgotten(gate: Gate) -> None:
    first, second, waiting = await full(gate)
    waiting.task.cancel()
    await asyncio.wait({waiting.task})
    assert (gate.under_way, gate.waiting) == (2, 0)
    await first.finish()
    await second.finish()
    assert gate.under_way == 0


async def test_a_caller_who_leaves_just_when_his_turn_comes_takes_no_place_with_him(gate: Gate) -> None:
    first, second, waiting = await full(gate)
    first.task.cancel()
    await asyncio.sleep(0)
    assert (gate.waiting, waiting.is_inside) == (0, False)  # the turn has come, its owner has not run yet
    waiting.task.cancel()
    await asyncio.wait({waiting.task})
    assert (waiting.is_inside, gate.under_way) == (False, 1)
    await second.finish()
    assert gate.under_way == 0


async def test_a_caller_who_leaves_while_another_passes_him_over_takes_no_place_with_him(gate: Gate) -> None:
    first, second, waiting = await full(gate)
    waiting.task.cancel()
    gate.leave("192.0.2.1")
    await asyncio.wait({waiting.task})
    assert waiting.task.cancelled()
    assert (gate.under_way, gate.waiting) == (1, 0)
    first.task.cancel()
    second.task.cancel()


async def test_what_raises_inside_gives_its_place_back(gate: Gate) -> None:
    with pytest.raises(RuntimeError):
        async with a_place(gate):
            raise RuntimeError
    assert gate.under_way == 0


async def test_a_service_that_is_full_leaves_the_others_their_places() -> None:
    admission = Admission()
    search = admission.gates[Service.SEARCH]
    search.under_way = search.under_way_limit
    async with a_place(admission.gates[Service.REPO]):
        assert admission.gates[Service.REPO].under_way == 1


async def test_one_caller_has_his_share_and_no_more() -> None:
    gate = Gate(Service.REPO)
    for _ in range(CALLER_LIMIT):
        await gate.enter("192.0.2.1")
    with pytest.raises(TooManyAtOnce) as raised:
        await gate.enter("192.0.2.1")
    assert (raised.value.status, raised.value.retry_after_seconds) == (429, 1)
    await gate.enter("192.0.2.2")
    gate.leave("192.0.2.1")
    await gate.enter("192.0.2.1")


async def test_who_is_turned_away_counts_for_nothing(gate: Gate) -> None:
    requests = await full(gate)
    for _ in range(CALLER_LIMIT):
        with pytest.raises(Overloaded):
            await Request(gate).task
    for request in requests:
        await request.finish()
    assert gate.under_way == 0
    async with a_place(gate):
        assert gate.under_way == 1

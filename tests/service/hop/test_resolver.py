"""A name and what it stands for: one lookup at a time, late answers, and too many."""

import pytest

from gateway.hop import resolver
from gateway.hop.pool import Address
from gateway.hop.resolver import ADDRESSES_LIMIT, Resolver, look_up
from tests.fakes.named_replicas import NAME, Names


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "LOOKUP_TIMEOUT_SECONDS", 0.01)


async def test_a_lookup_that_hangs_is_waited_for_and_not_repeated() -> None:
    """Each holds a thread, and cannot be called back from it."""
    names, told = Names([]), list[frozenset[Address]]()
    names.says = None
    resolving = Resolver(NAME, 80, told.append, names)
    for _ in range(4):
        await resolving.refresh()
    assert (names.asked, told) == (1, [])


async def test_an_answer_that_comes_late_is_an_answer() -> None:
    names, told = Names([]), list[frozenset[Address]]()
    names.says = None
    resolving = Resolver(NAME, 80, told.append, names)
    await resolving.refresh()
    names.says = ["127.0.0.1"]
    names.may_go_on.set()
    await resolving.refresh()
    await resolving.refresh()
    assert told == [frozenset({Address("127.0.0.1", 80)})]


async def test_only_a_change_is_told() -> None:
    names, told = Names(["127.0.0.2", "127.0.0.1"]), list[frozenset[Address]]()
    resolving = Resolver(NAME, 80, told.append, names)
    await resolving.refresh()
    names.says = ["127.0.0.1", "127.0.0.2", "127.0.0.1"]
    await resolving.refresh()
    assert len(told) == 1


async def test_no_answer_makes_more_replicas_than_can_be_meant() -> None:
    names, told = Names([f"127.0.{one // 250}.{one % 250 + 1}" for one in range(2000)]), list[frozenset[Address]]()
    await Resolver(NAME, 80, told.append, names).refresh()
    assert [len(addresses) for addresses in told] == [ADDRESSES_LIMIT]


@pytest.mark.parametrize("host", ["127.0.0.9", "::1"])
async def test_an_address_is_not_looked_up(host: str) -> None:
    names, told = Names([]), list[frozenset[Address]]()
    resolving = Resolver(host, 80, told.append, names)
    await resolving.refresh()
    assert (resolving.is_fixed, names.asked, told) == (True, 0, [frozenset({Address(host, 80)})])


async def test_a_host_with_an_address_in_each_family_is_one() -> None:
    assert await look_up("localhost") == ["127.0.0.1"]

"""Who gets the next request."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.hop.choice import EQUALLY_FAST_SECONDS, HALF_LIFE_SECONDS, Latency, choose


@pytest.mark.parametrize("replicas", [1, 2, 3, 7])
def test_equal_replicas_get_equal_shares(replicas: int) -> None:
    got = Counter(choose(range(replicas), lambda _one: 1.0, turn, chance=turn * 0.37 % 1) for turn in range(210))
    assert set(got.values()) == {210 // replicas}


def test_the_less_loaded_of_two_gets_it() -> None:
    loads = {"busy": 3.0, "free": 1.0}
    for turn in range(2):
        assert choose(["busy", "free"], loads.__getitem__, turn, chance=0.5) == "free"


@given(st.lists(st.floats(0, 100), min_size=2, max_size=9), st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_the_most_loaded_never_gets_it(loads: list[float], turn: int, chance: float) -> None:
    chosen = choose(range(len(loads)), loads.__getitem__, turn, chance)
    assert loads[chosen] < max(loads) or loads.count(max(loads)) > 1


@given(st.integers(2, 9), st.integers(0, 100))
def test_chance_can_name_every_other_one(replicas: int, turn: int) -> None:
    first = turn % replicas
    others = {
        choose(range(replicas), lambda one: 9.0 if one == first else 1.0, turn, step / replicas / 4)
        for step in range(replicas * 4)
    }
    assert others == set(range(replicas)) - {first}


def test_latency_below_what_matters_is_all_the_same() -> None:
    quick, quicker = Latency(), Latency()
    quick.note(0.08, now=1)
    quicker.note(0.001, now=1)
    assert quick.at(1) == quicker.at(1) == EQUALLY_FAST_SECONDS


def test_a_slow_replica_is_told_apart_and_given_another_chance_later() -> None:
    slow = Latency()
    for _ in range(20):
        slow.note(2.0, now=100)
    assert slow.at(100) == pytest.approx(2.0, rel=0.02)
    assert slow.at(100 + HALF_LIFE_SECONDS) == pytest.approx(1.0, rel=0.02)
    assert slow.at(100 + 10 * HALF_LIFE_SECONDS) == EQUALLY_FAST_SECONDS


def test_one_slow_answer_does_not_make_a_replica_slow() -> None:
    latency = Latency()
    latency.note(0.4, now=1)
    assert latency.at(1) == EQUALLY_FAST_SECONDS

"""The demand that the quota benchmark makes, and the least that it can cost."""

from collections import Counter

import pytest

from benchmarks.demand import Request, draw_demand, visible_changes, visible_changes_once_in, zipf


def every_100_seconds(resource: int, seconds: int) -> int:
    return seconds // 100 if resource == 0 else 0


def asked_at(*moments: int, resource: int = 0) -> list[Request]:
    return [Request(at, resource, 0) for at in moments]


def test_shares_fall_with_the_rank_and_make_a_whole() -> None:
    shares = zipf(1.1, 5000)
    assert sum(shares) == pytest.approx(1)
    assert shares[0] / shares[1] == pytest.approx(2**1.1)
    assert shares[0] / shares[4999] == pytest.approx(5000**1.1)


def test_demand_is_the_same_for_the_same_seed_in_order_of_time_and_as_its_shares_say() -> None:
    shares = zipf(1.1, 50)
    first, again, other = (
        draw_demand(seed=seed, count=20_000, shares=shares, seconds=600, step_seconds=2, replicas=3)
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert [request.seconds for request in first] == sorted(request.seconds for request in first)
    assert {request.seconds for request in first} == set(range(0, 600, 2))
    assert {request.replica for request in first} == {0, 1, 2}
    asked = Counter(request.resource for request in first)
    assert asked[0] / 20_000 == pytest.approx(shares[0], rel=0.1)
    assert asked[9] / 20_000 == pytest.approx(shares[9], rel=0.2)


@pytest.mark.parametrize(
    ("moments", "cost"),
    [
        ((), 0),
        ((5,), 1),
        ((5, 50, 99), 1),  # no change between
        ((5, 100), 2),  # asked at the moment of the change
        ((5, 450), 2),  # of four changes only the last can be seen
        ((5, 150, 250), 3),
    ],
)
def test_a_change_counts_when_somebody_asks_before_the_next(moments: tuple[int, ...], cost: int) -> None:
    assert visible_changes(asked_at(*moments), every_100_seconds) == cost


def test_each_resource_counts_for_itself() -> None:
    demand = asked_at(5, 150) + asked_at(160, 500, resource=1)
    assert visible_changes(demand, every_100_seconds) == 3


@pytest.mark.parametrize(
    ("moments", "cost"),
    [
        ((5, 150, 250), 1),  # the copy still counts as fresh at both
        ((5, 304), 1),
        ((5, 305), 2),  # as old as its lifetime: asked again
        ((5, 150, 310, 450, 620), 3),
    ],
)
def test_with_a_lifetime_changes_within_it_are_seen_as_one(moments: tuple[int, ...], cost: int) -> None:
    assert visible_changes_once_in(asked_at(*moments), every_100_seconds, 300) == cost


def test_an_unchanged_resource_costs_one_however_often_it_is_renewed() -> None:
    assert visible_changes_once_in(asked_at(*range(0, 5000, 50), resource=1), every_100_seconds, 300) == 1

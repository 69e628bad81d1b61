"""No endpoint has all hands, and what waits for a slow one does not keep the others from being claimed."""

from collections import Counter
from datetime import UTC, datetime

from notifier_service.models import Claimed, Endpoint
from notifier_service.turns import LONGEST_WAIT_SECONDS, Turns

SHARE = 3


def claimed(endpoint: int, count: int, at: float = 0.0) -> list[Claimed]:
    place = Endpoint(endpoint, "webhook", None, None, {}, "en")
    return [
        Claimed(endpoint * 1000 + number, 1, number, "t", {}, 1, datetime.now(UTC), place, claimed_at=at)
        for number in range(count)
    ]


def take_all(turns: Turns) -> list[Claimed]:
    found = []
    while (one := turns.take()) is not None:
        found.append(one)
    return found


def test_one_endpoint_gets_its_share_of_the_hands_and_the_others_the_rest() -> None:
    turns = Turns(SHARE)
    turns.extend([*claimed(1, 10), *claimed(2, 2)])
    taken = take_all(turns)

    assert Counter(one.endpoint.id for one in taken) == {1: 3, 2: 2}
    assert len(turns) == 7
    assert not turns.has_ready


def test_each_send_that_ends_lets_the_next_one_go_in_order() -> None:
    turns = Turns(SHARE)
    turns.extend(claimed(1, 5))
    first = take_all(turns)
    order = [one.id for one in first]
    for one in first:
        turns.note_end(one)
        order += [each.id for each in take_all(turns)]

    assert order == [one.id for one in claimed(1, 5)]
    assert len(turns) == 0


def test_nothing_is_taken_from_an_endpoint_that_has_not_had_the_time() -> None:
    turns = Turns(SHARE)
    turns.extend(claimed(1, 10))
    take_all(turns)

    assert turns.take_excess(LONGEST_WAIT_SECONDS) == []


def test_all_that_waits_for_an_endpoint_that_hangs_is_taken_out() -> None:
    turns = Turns(SHARE)
    turns.extend([*claimed(1, 10), *claimed(2, 3)])
    take_all(turns)
    excess = turns.take_excess(LONGEST_WAIT_SECONDS + 0.1)

    assert Counter(one.endpoint.id for one in excess) == {1: 7}
    assert len(turns) == 0


def test_slow_endpoint_keeps_as_much_as_it_takes_in_a_second() -> None:
    turns = Turns(SHARE)
    turns.extend(claimed(1, 50))
    sending = take_all(turns)
    for _ in range(10):
        turns.note_end(sending.pop())
        sending += take_all(turns)
    excess = turns.take_excess(2.0)

    assert len(turns) == 5
    assert len(excess) == 50 - 10 - SHARE - 5
    assert turns.take_excess(2.1) == [] or len(turns) <= 5


def test_all_that_waits_can_be_taken_out_and_sends_under_way_still_end() -> None:
    turns = Turns(SHARE)
    turns.extend(claimed(1, 10))
    [first, *_] = take_all(turns)
    turns.extend(claimed(2, 4))

    assert len(turns.clear()) == 11
    assert len(turns) == 0
    turns.note_end(first)
    turns.extend(claimed(1, 5))
    assert len(take_all(turns)) == 1

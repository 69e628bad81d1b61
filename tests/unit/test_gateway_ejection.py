"""When a replica is left alone, for how long, and how it comes back."""

import pytest

from gateway.hop.ejection import (
    ANSWERS_TO_JUDGE_BY,
    FAILURES_IN_A_ROW,
    FORGIVEN_AFTER_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Health,
    Standing,
    may_eject,
)


def with_failures(count: int) -> Health:
    health = Health()
    for _ in range(count):
        health.note_failure()
    return health


def test_failures_in_a_row_stand_out_whatever_the_others_do() -> None:
    assert not with_failures(FAILURES_IN_A_ROW - 1).stands_out(0.0)
    assert with_failures(FAILURES_IN_A_ROW).stands_out(1.0)


def test_an_answer_between_them_begins_the_row_anew() -> None:
    health = with_failures(FAILURES_IN_A_ROW - 1)
    health.note_answer(well=True)
    health.note_failure()
    assert not health.stands_out(0.0)


def answering_500(count: int) -> Health:
    health = Health()
    for _ in range(count):
        health.note_answer(well=False)
    return health


@pytest.mark.parametrize(
    ("answers", "others", "stands_out"),
    [
        pytest.param(ANSWERS_TO_JUDGE_BY, 0.0, True, id="alone"),
        pytest.param(ANSWERS_TO_JUDGE_BY - 1, 0.0, False, id="too early to say"),
        pytest.param(ANSWERS_TO_JUDGE_BY, 0.9, False, id="as all do: GitHub is away"),
        pytest.param(ANSWERS_TO_JUDGE_BY, 0.4, True, id="far more than others"),
    ],
)
def test_bad_statuses_stand_out_only_where_others_have_none(answers: int, others: float, stands_out: bool) -> None:
    assert answering_500(answers).stands_out(others) is stands_out


def test_failing_now_and_then_does_not_stand_out() -> None:
    health = Health()
    for one in range(200):
        health.note_answer(well=one % 3 != 0)
    assert not health.stands_out(0.0)


def test_each_time_it_is_left_alone_for_longer_up_to_a_limit() -> None:
    health = Health()
    now = 0.0
    pauses = []
    for _ in range(8):
        health.eject(now)
        began = now
        while not health.is_due(now):
            now += 0.5
        pauses.append(now - began)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_a_good_minute_is_a_new_beginning() -> None:
    health = Health()
    for _ in range(4):
        health.eject(100.0)
    health.restore()
    health.eject(108.0 + FORGIVEN_AFTER_SECONDS + 1)
    assert health.is_due(108.0 + FORGIVEN_AFTER_SECONDS + 2)


def test_it_comes_back_by_way_of_one_trial() -> None:
    health = with_failures(FAILURES_IN_A_ROW)
    health.eject(10.0)
    assert (health.standing, health.is_due(10.5), health.is_due(11.0)) == (Standing.EJECTED, False, True)
    health.try_one()
    assert (health.standing, health.is_due(99.0)) == (Standing.ON_TRIAL, False)
    health.restore()
    assert (health.standing, health.failure_share, health.stands_out(0.0)) == (Standing.ACTIVE, 0.0, False)


@pytest.mark.parametrize(("replicas", "most"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)], ids=str)
def test_at_least_half_of_them_stay(replicas: int, most: int) -> None:
    out = 0
    while may_eject(replicas, out):
        out += 1
    assert out == most


def test_what_was_asked_before_it_was_left_alone_brings_nobody_back() -> None:
    health = Health()
    health.eject(100.0)
    assert [health.is_shown_by(asked_at) for asked_at in (99.9, 100.1)] == [False, True]
    health.try_one()
    assert [health.is_shown_by(asked_at) for asked_at in (99.9, 100.1)] == [False, True]
    health.restore()
    assert not health.is_shown_by(100.1)

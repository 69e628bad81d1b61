"""Retries wait with jitter and stay within a budget."""

from service_kit.retry import RetryBudget, pause_seconds


def test_pauses_grow_and_are_bounded() -> None:
    assert [pause_seconds(tries, chance=1.0) for tries in (1, 2, 3, 9)] == [0.1, 0.2, 0.4, 2.0]
    assert pause_seconds(3, chance=0.0) == 0


def test_retries_are_at_most_a_tenth_of_the_calls_after_the_first_few() -> None:
    budget = RetryBudget()
    spent = 0
    for _ in range(1000):
        budget.note_call()
        spent += budget.spend()
    assert 100 <= spent <= 110

"""The breaker: when nothing answers, the next call fails at once, and one at a time tries again."""

from github_client.breaker import FAILURES_BEFORE_OPEN, LONGEST_PAUSE_SECONDS, Breaker


def failing(times: int = FAILURES_BEFORE_OPEN) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker.note_failure(0.0)
    return breaker


def test_a_few_failures_do_not_open_it() -> None:
    assert failing(FAILURES_BEFORE_OPEN - 1).wait_seconds(0.0) == 0


def test_failures_in_a_row_open_it_and_one_at_a_time_tries_again() -> None:
    breaker = failing()
    assert breaker.wait_seconds(0.5) == 0.5
    assert breaker.wait_seconds(1.0) == 0
    assert breaker.wait_seconds(1.0) == 1.0, "the others still wait for the one that tries"


def test_it_stays_open_longer_each_time_and_half_a_minute_at_most() -> None:
    breaker, now, waits = failing(), 0.0, []
    for _ in range(8):
        now += breaker.wait_seconds(now)
        assert breaker.wait_seconds(now) == 0
        breaker.note_failure(now)
        waits.append(breaker.wait_seconds(now))
    assert waits[:4] == [2, 4, 8, 16]
    assert waits[-1] == LONGEST_PAUSE_SECONDS


def test_an_answer_closes_it() -> None:
    breaker = failing()
    breaker.note_success()
    assert breaker.wait_seconds(0.0) == 0
    breaker.note_failure(0.0)
    assert breaker.wait_seconds(0.0) == 0

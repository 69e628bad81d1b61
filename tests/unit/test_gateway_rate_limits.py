"""How many requests one may make: the arithmetic, whose bucket is charged, and what others' buckets cannot do to it."""

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rate_limits import ACCEPTED_SECONDS, WINDOW_SECONDS, RateLimits, Verdict, is_accepted, spend
from gateway.shared_table import SIZE_BYTES, SLOTS, SharedTable, prepare

NOW = 1_000.0
TOKEN = "Bearer of-somebody"


@pytest.mark.parametrize(
    ("owed_until", "allowed", "then_owed_until"),
    [
        pytest.param(0.0, True, NOW + 1, id="nothing known of it"),
        pytest.param(NOW - 1, True, NOW + 1, id="owes nothing any more"),
        pytest.param(NOW + 30, True, NOW + 31, id="half used"),
        pytest.param(NOW + 59, True, NOW + 60, id="the last one"),
        pytest.param(NOW + 59.5, False, NOW + 59.5, id="half an interval too early"),
        pytest.param(NOW + 60, False, NOW + 60, id="used up"),
    ],
)
def test_a_bucket_is_one_moment(owed_until: float, allowed: bool, then_owed_until: float) -> None:
    assert spend(owed_until, NOW, 1.0) == (allowed, then_owed_until)


@given(st.lists(st.floats(0, 5), max_size=200))
def test_no_window_lets_more_through_than_the_limit_and_what_came_back_meanwhile(pauses: list[float]) -> None:
    now, owed_until, allowed_at = NOW, 0.0, []
    for pause in pauses:
        now += pause
        allowed, owed_until = spend(owed_until, now, WINDOW_SECONDS / 20)
        if allowed:
            allowed_at.append(now)
    for start in allowed_at:
        for seconds in (1, 10, WINDOW_SECONDS):
            within = sum(start <= moment <= start + seconds for moment in allowed_at)
            assert within <= 20 + seconds / (WINDOW_SECONDS / 20) + 1


def ask(limits: RateLimits, times: int, address: str = "192.0.2.1", rate_class: str = "default") -> Verdict:
    verdicts = [limits.check(address, rate_class, NOW) for _ in range(times)]
    return verdicts[-1]


def test_a_whole_limit_may_come_at_once_and_then_one_each_interval() -> None:
    limits = RateLimits(600, 60)
    assert ask(limits, 1) == Verdict(True, "default", 600, 599, 1)
    assert ask(limits, 599) == Verdict(True, "default", 600, 0, 60)
    assert ask(limits, 5) == Verdict(False, "default", 600, 0, 1)
    assert limits.check("192.0.2.1", "default", NOW + 0.1).allowed
    assert not limits.check("192.0.2.1", "default", NOW + 0.1).allowed
    assert limits.check("192.0.2.1", "default", NOW + 60.1).remaining == 599


def test_a_search_has_a_bucket_of_its_own() -> None:
    limits = RateLimits(600, 60)
    ask(limits, 60, rate_class="search")
    assert not ask(limits, 1, rate_class="search").allowed
    assert ask(limits, 1).remaining == 599


def test_a_refused_request_is_told_when_to_come_again() -> None:
    limits = RateLimits(2, 60)
    verdict = ask(limits, 3)
    assert verdict.lines() == 'RateLimit-Policy: "default";q=2;w=60\r\nRateLimit: "default";r=0;t=30\r\n'
    assert (verdict.error().status, verdict.error().retry_after_seconds) == (429, 30)
    assert limits.check("192.0.2.1", "default", NOW + 30).allowed


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("", "unknown", False),
    ],
)
def test_a_caller_is_an_address_or_an_ipv6_network(one: str, other: str, is_same: bool) -> None:
    limits = RateLimits(10, 60)
    ask(limits, 10, one)
    assert ask(limits, 1, other).allowed is not is_same


def test_an_unverified_token_opens_no_bucket() -> None:
    limits = RateLimits(10, 60)
    for number in range(10):
        assert limits.check("192.0.2.1", "default", NOW, f"Bearer {number}").name == "default"
    assert not limits.check("192.0.2.1", "default", NOW, "Bearer 10").allowed


def test_an_accepted_token_has_a_higher_limit_wherever_it_comes_from() -> None:
    limits = RateLimits(10, 60)
    ask(limits, 10)
    limits.learn(TOKEN, accepted=True, now=NOW)
    assert limits.check("192.0.2.1", "default", NOW, TOKEN) == Verdict(True, "identity-default", 20, 19, 3)
    assert limits.check("198.51.100.1", "default", NOW, TOKEN).remaining == 18
    assert limits.check("198.51.100.1", "default", NOW).remaining == 9
    assert limits.check("192.0.2.1", "search", NOW, TOKEN).name == "identity-search"


def test_an_accepted_token_is_believed_until_github_refuses_it_or_has_not_shown_it_for_long() -> None:
    limits = RateLimits(10, 60)
    limits.learn(TOKEN, accepted=True, now=NOW)
    later = NOW + ACCEPTED_SECONDS
    assert limits.check("192.0.2.1", "default", later - 1, TOKEN).name == "identity-default"
    assert limits.check("192.0.2.1", "default", later + 1, TOKEN).name == "default"
    limits.learn(TOKEN, accepted=True, now=later)
    limits.learn(TOKEN, accepted=False, now=later)
    assert limits.check("192.0.2.1", "default", later + 1, TOKEN).name == "default"


@pytest.mark.parametrize(
    ("status", "cache_control", "shown"),
    [
        (200, "private, no-store", True),
        (200, "public, max-age=60", None),
        (200, "", None),
        (404, "private, no-store", None),
        (500, "no-store", None),
        (401, "no-store", False),
        (403, "no-store", None),
    ],
)
def test_what_an_answer_shows_of_a_token(status: int, cache_control: str, shown: bool | None) -> None:
    assert is_accepted(status, cache_control) is shown


def test_others_cannot_push_out_a_bucket_that_is_used_up() -> None:
    limits = RateLimits(10, 60)
    ask(limits, 10)
    for number in range(2 * SLOTS):
        limits.check(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "default", NOW)
    assert not ask(limits, 1).allowed


def test_processes_that_share_the_table_share_the_buckets() -> None:
    memory = mmap.mmap(-1, SIZE_BYTES)
    prepare(memory)
    one, other = (RateLimits(10, 60, SharedTable(memory)) for _ in range(2))
    ask(one, 9)
    assert ask(other, 1).remaining == 0
    assert not ask(one, 1).allowed
    one.learn(TOKEN, accepted=True, now=NOW)
    assert other.check("192.0.2.1", "default", NOW, TOKEN).allowed


def test_where_a_bucket_stands_cannot_be_known_from_outside() -> None:
    assert SharedTable().key_secret != SharedTable().key_secret

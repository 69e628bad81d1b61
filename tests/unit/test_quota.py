"""The quota keeper: who may ask GitHub with what, by all that its answers have told."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from multidict import CIMultiDict

from github_client.credentials import ANONYMOUS, Credential
from github_client.protocol import Limit
from github_client.quota import (
    ASSUMED_WINDOW_SECONDS,
    LONGEST_SECONDARY_REST_SECONDS,
    MOST_BUCKETS,
    MOST_CREDENTIALS,
    QUIET_SECONDS,
    RECHECK_SECONDS,
    REFUSED_REST_SECONDS,
    Purpose,
    QuotaKeeper,
)
from service_kit.errors import UpstreamLimited

FIRST, SECOND, THIRD = (Credential("operator", name, f"ghp_{name}") for name in ("first", "second", "third"))
ALL = (FIRST, SECOND, THIRD)
BUCKETS = ("core", "of_another_name")
NOW, UNIX = 5000.0, 1_790_000_000.0


def headers(remaining: int, *, limit: int = 5000, reset_in: float = 600, resource: str = "core") -> CIMultiDict[str]:
    return CIMultiDict(
        {
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": str(remaining),
            "x-ratelimit-reset": str(int(UNIX + reset_in)),
            "x-ratelimit-resource": resource,
        }
    )


def told(keeper: QuotaKeeper, credential: Credential, remaining: int, **more: object) -> None:
    keeper.note_headers(credential, "core", headers(remaining, **more), NOW, UNIX)  # type: ignore[arg-type]


def wait(keeper: QuotaKeeper, credential: Credential, purpose: Purpose = "people", now: float = NOW) -> float:
    return keeper.wait_seconds(credential, "core", purpose, now)


def test_a_resource_keeps_its_credential_and_all_credentials_have_some() -> None:
    keeper = QuotaKeeper()
    chosen = {n: keeper.choose(ALL, "core", f"/users/{n}", "people", NOW).name for n in range(300)}
    again = {n: keeper.choose(ALL[::-1], "core", f"/users/{n}", "people", NOW).name for n in range(300)}
    assert chosen == again
    assert min(Counter(chosen.values()).values()) > 60


def test_without_a_credential_only_its_own_resources_move() -> None:
    keeper = QuotaKeeper()
    before = {n: keeper.choose(ALL, "core", f"/users/{n}", "people", NOW) for n in range(300)}
    after = {n: keeper.choose((FIRST, SECOND), "core", f"/users/{n}", "people", NOW) for n in range(300)}
    assert {n for n in before if before[n] is not after[n]} == {n for n in before if before[n] is THIRD}


def test_what_is_under_way_counts() -> None:
    keeper = QuotaKeeper()
    told(keeper, FIRST, 2)
    for _ in range(2):
        assert keeper.choose((FIRST,), "core", "/x", "people", NOW) is FIRST
    with pytest.raises(UpstreamLimited) as caught:
        keeper.choose((FIRST,), "core", "/x", "people", NOW)
    assert caught.value.retry_after_seconds == 600
    keeper.give_back(FIRST, "core")
    assert keeper.choose((FIRST,), "core", "/x", "people", NOW) is FIRST


def test_answers_that_overtake_each_other_give_nothing_back() -> None:
    keeper = QuotaKeeper()
    told(keeper, FIRST, 100)
    told(keeper, FIRST, 103)
    assert keeper.known(FIRST)["core"].remaining == 100
    told(keeper, FIRST, 4999, reset_in=3600)  # the next window
    assert keeper.known(FIRST)["core"].remaining == 4999
    told(keeper, FIRST, 5, reset_in=600)  # an answer of the last one
    assert keeper.known(FIRST)["core"].remaining == 4999


def test_a_spent_budget_is_whole_again_at_its_reset() -> None:
    keeper = QuotaKeeper()
    told(keeper, FIRST, 0)
    assert wait(keeper, FIRST) == 600
    assert wait(keeper, FIRST, now=NOW + 600) == 0


def use(keeper: QuotaKeeper, credential: Credential = FIRST, bucket: str = "core", now: float = NOW) -> int:
    """How many may be under way at once."""
    for n in range(6000):
        try:
            keeper.choose((credential,), bucket, "/x", "people", now)
        except UpstreamLimited as error:
            assert error.retry_after_seconds == 1
            return n
    raise AssertionError("no end of it")


@pytest.mark.parametrize(
    ("credential", "bucket", "most"),
    [(ANONYMOUS, "core", 60), (ANONYMOUS, "search", 10), (FIRST, "core", 5000), (FIRST, "search", 30)],
)
def test_before_github_has_told_of_a_budget_no_more_is_under_way_than_one_has(
    credential: Credential, bucket: str, most: int
) -> None:
    keeper = QuotaKeeper()
    assert use(keeper, credential, bucket) == most
    assert use(keeper, credential, bucket, NOW + ASSUMED_WINDOW_SECONDS) == most


def test_after_a_reset_no_more_is_under_way_than_the_new_window_has() -> None:
    keeper = QuotaKeeper()
    told(keeper, FIRST, 0, limit=77)
    assert use(keeper, now=NOW + 600) == 77


def test_what_was_sent_before_the_first_answer_counts_in_what_it_tells() -> None:
    keeper = QuotaKeeper()
    for _ in range(10):
        keeper.choose((FIRST,), "core", "/x", "people", NOW)
    told(keeper, FIRST, 4999)
    assert keeper.known(FIRST)["core"].remaining == 4990


def test_where_nobody_tells_of_limits_none_is_reached() -> None:
    keeper = QuotaKeeper()
    for _ in range(200):
        assert keeper.choose((ANONYMOUS,), "core", "/x", "people", NOW) is ANONYMOUS
        keeper.note_headers(ANONYMOUS, "core", CIMultiDict(), NOW, UNIX)


def test_an_answer_of_the_window_before_says_nothing_of_this_one() -> None:
    keeper = QuotaKeeper()
    for _ in range(3):
        keeper.choose((FIRST,), "core", "/x", "people", NOW)
    told(keeper, FIRST, 0, reset_in=0)
    assert keeper.known(FIRST)["core"].remaining == 4997


def test_an_answer_that_counts_elsewhere_is_charged_there() -> None:
    keeper = QuotaKeeper()
    told(keeper, FIRST, 40)
    keeper.choose((FIRST,), "core", "/x", "people", NOW)
    told(keeper, FIRST, 9, limit=10, resource="code_search")
    assert keeper.known(FIRST)["core"].remaining == 40
    assert keeper.known(FIRST)["code_search"].remaining == 9


@pytest.mark.parametrize("resource", ["*", "", "a b", "\udcff", "x" * 41])
def test_a_bucket_that_cannot_be_one_is_not_kept(resource: str) -> None:
    keeper = QuotaKeeper()
    told(keeper, FIRST, 1, resource=resource)
    assert keeper.take_news() == []


def test_what_nobody_waits_for_leaves_a_fifth_to_people() -> None:
    keeper = QuotaKeeper()
    told(keeper, FIRST, 1000)
    assert wait(keeper, FIRST, "background") == 600
    assert wait(keeper, FIRST, "people") == 0
    told(keeper, SECOND, 1001)
    assert wait(keeper, SECOND, "background") == 0


def test_buckets_are_kept_apart_by_what_github_calls_them() -> None:
    keeper = QuotaKeeper()
    told(keeper, FIRST, 0, limit=30, resource="search")
    assert wait(keeper, FIRST) == 0
    assert keeper.wait_seconds(FIRST, "search", "people", NOW) == 600


def test_a_primary_limit_rests_its_bucket_and_a_secondary_one_the_credential() -> None:
    keeper = QuotaKeeper()
    keeper.note_limit(FIRST, "search", Limit("primary", 40), NOW)
    assert (wait(keeper, FIRST), keeper.wait_seconds(FIRST, "search", "people", NOW)) == (0, 40)
    keeper.note_limit(SECOND, "search", Limit("secondary", 30), NOW)
    assert (wait(keeper, SECOND), keeper.wait_seconds(SECOND, "search", "people", NOW)) == (30, 30)


def test_secondary_limits_that_say_nothing_rest_longer_each_time_until_a_quiet_hour() -> None:
    keeper, now, rests = QuotaKeeper(), NOW, []
    for _ in range(8):
        rests.append(keeper.note_limit(FIRST, "core", Limit("secondary", 60, is_stated=False), now))
        now += rests[-1]
    assert rests[:4] == [60, 120, 240, 480]
    assert rests[-1] == LONGEST_SECONDARY_REST_SECONDS
    now += QUIET_SECONDS
    assert keeper.note_limit(FIRST, "core", Limit("secondary", 60, is_stated=False), now) == 60


def test_secondary_limits_at_the_same_time_are_one() -> None:
    keeper, limit = QuotaKeeper(), Limit("secondary", 60, is_stated=False)
    assert [keeper.note_limit(FIRST, "core", limit, NOW + n) for n in range(5)] == [60] * 5
    assert keeper.note_limit(FIRST, "core", limit, NOW + 70) == 120
    keeper.note_limit(SECOND, "core", Limit("refused", 1), NOW)
    assert keeper.note_limit(SECOND, "core", limit, NOW) == 60


def test_a_refused_credential_is_left_alone() -> None:
    keeper = QuotaKeeper()
    keeper.note_limit(FIRST, "core", Limit("refused", 1), NOW)
    assert wait(keeper, FIRST) == REFUSED_REST_SECONDS
    assert keeper.choose(ALL, "core", "/x", "people", NOW) is not FIRST


def test_a_refused_credential_is_looked_at_shortly_before_it_would_be_used_again() -> None:
    keeper = QuotaKeeper()
    keeper.note_limit(FIRST, "core", Limit("refused", 1), NOW)
    end = NOW + REFUSED_REST_SECONDS
    due = [keeper.is_recheck_due(FIRST, now) for now in (NOW, end - RECHECK_SECONDS, end - RECHECK_SECONDS + 1, end)]
    assert due == [False, False, True, False]
    keeper.note_limit(FIRST, "core", Limit("refused", 1), end - 1)
    assert wait(keeper, FIRST, now=end) == REFUSED_REST_SECONDS - 1
    assert not keeper.is_recheck_due(FIRST, end)


def test_the_credentials_used_last_are_remembered() -> None:
    keeper = QuotaKeeper()
    many = [Credential("caller", "caller", f"ghp_{n}") for n in range(MOST_CREDENTIALS + 50)]
    for one in many:
        keeper.note_limit(one, "core", Limit("primary", 40), NOW)
    assert [wait(keeper, one) for one in many] == [0] * 50 + [40] * MOST_CREDENTIALS


@pytest.mark.parametrize("name", ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"])
@pytest.mark.parametrize("value", ["", "-1", "many", "1e9", "\u0663"])
def test_headers_that_make_no_sense_teach_nothing(name: str, value: str) -> None:
    keeper = QuotaKeeper()
    keeper.note_headers(FIRST, "core", CIMultiDict({**headers(0), name.lower(): value}), NOW, UNIX)
    assert wait(keeper, FIRST) == 0


def test_no_header_stops_a_credential_for_longer_than_a_window() -> None:
    keeper = QuotaKeeper()
    told(keeper, FIRST, 0, reset_in=10**9)
    assert wait(keeper, FIRST) == 3600


def test_buckets_are_bounded_whatever_github_calls_them() -> None:
    keeper = QuotaKeeper()
    for n in range(100):
        told(keeper, FIRST, 1, resource=f"bucket-{n}")
    keeper.note_limit(FIRST, "one more", Limit("primary", 40), NOW)
    assert len(keeper.known(FIRST)) == MOST_BUCKETS
    assert len(keeper.take_news()) == MOST_BUCKETS


def test_what_one_learns_another_is_told_and_does_not_tell_again() -> None:
    one, other = QuotaKeeper(), QuotaKeeper()
    told(one, FIRST, 7)
    one.note_limit(SECOND, "core", Limit("secondary", 90), NOW)
    other.learn(one.take_news(), NOW)
    assert other.known(FIRST)["core"].remaining == 7
    assert wait(other, SECOND) == 90
    assert other.take_news() == one.take_news() == []


class NeverHammered(RuleBasedStateMachine):
    """Whatever happens, a credential that may not be used is not chosen, and one that may is.

    GitHub's windows end with each hour here; time goes by the hundred seconds, so that no two ends are nearly one.
    """

    buckets = st.sampled_from(BUCKETS)
    credentials = st.sampled_from(ALL)
    hundreds = st.integers(1, 40).map(lambda n: n * 100)

    def __init__(self) -> None:
        super().__init__()
        self.keeper = QuotaKeeper()
        self.now = 7200.0
        self.barred: dict[tuple[str, str], float] = {}
        self.left: dict[tuple[str, str], int] = {}

    @property
    def until_reset(self) -> float:
        return 3600 - self.now % 3600

    @rule(seconds=hundreds)
    def time_passes(self, seconds: int) -> None:
        if seconds >= self.until_reset:
            self.left.clear()
        self.now += seconds

    @rule(credential=credentials, bucket=buckets, remaining=st.sampled_from([0, 1, 2, 1001, 1002, 5000]))
    def answer(self, credential: Credential, bucket: str, remaining: int) -> None:
        told = headers(remaining, reset_in=self.until_reset, resource=bucket)
        self.keeper.note_headers(credential, bucket, told, self.now, UNIX)
        key = (credential.name, bucket)
        self.left[key] = min(self.left.get(key, remaining), remaining)

    @rule(credential=credentials, bucket=buckets, seconds=hundreds)
    def primary_limit(self, credential: Credential, bucket: str, seconds: int) -> None:
        self.keeper.note_limit(credential, bucket, Limit("primary", seconds), self.now)
        self.left.pop((credential.name, bucket), None)  # a new window begins when the rest is over
        self._bar(credential, bucket, seconds)

    @rule(credential=credentials, seconds=hundreds)
    def secondary_limit(self, credential: Credential, seconds: int) -> None:
        self.keeper.note_limit(credential, "core", Limit("secondary", seconds), self.now)
        self._bar_all(credential, seconds)

    @rule(credential=credentials)
    def revoked(self, credential: Credential) -> None:
        self.keeper.note_limit(credential, "core", Limit("refused", 1), self.now)
        self._bar_all(credential, REFUSED_REST_SECONDS)

    def _bar_all(self, credential: Credential, seconds: float) -> None:
        for bucket in BUCKETS:
            self._bar(credential, bucket, seconds)

    def _bar(self, credential: Credential, bucket: str, seconds: float) -> None:
        key = (credential.name, bucket)
        self.barred[key] = max(self.barred.get(key, 0), self.now + seconds)

    def _wait(self, credential: Credential, bucket: str, purpose: Purpose) -> float:
        key = (credential.name, bucket)
        is_spent = self.left.get(key, 5000) <= (1000 if purpose == "background" else 0)
        return max(self.barred.get(key, 0) - self.now, self.until_reset if is_spent else 0, 0)

    @rule(bucket=buckets, resource=st.sampled_from("abcd"), purpose=st.sampled_from(["people", "background"]))
    def somebody_asks(self, bucket: str, resource: str, purpose: Purpose) -> None:
        waits = {one: self._wait(one, bucket, purpose) for one in ALL}
        try:
            chosen = self.keeper.choose(ALL, bucket, resource, purpose, self.now)
        except UpstreamLimited as error:
            assert error.retry_after_seconds == min(waits.values()) > 0
        else:
            assert waits[chosen] == 0
            key = (chosen.name, bucket)
            if key in self.left:
                self.left[key] -= 1

    @invariant()
    def nothing_is_below_zero(self) -> None:
        assert all(budget.remaining >= 0 for one in ALL for budget in self.keeper.known(one).values())


TestNeverHammered = NeverHammered.TestCase
TestNeverHammered.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

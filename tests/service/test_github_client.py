"""The GitHub client on a real wire: credentials, redirects, limits."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import structlog
from aiohttp import ClientSession

from github_client.breaker import FAILURES_BEFORE_OPEN
from github_client.client import GitHubClient, NotModified, Validator
from github_client.credentials import Credential
from github_client.quota import QuotaKeeper
from service_kit.alerts import Alert, Alerts
from service_kit.client import open_session
from service_kit.errors import (
    Forbidden,
    Unauthorized,
    UpstreamFault,
    UpstreamLimited,
)
from service_kit.metrics import Metrics
from tests.fakes.clock import SimulatedClock
from tests.fakes.github_objects import repository
from tests.fakes.replica import make_client
from tests.fakes.upstream import ScriptedUpstream

CALLER = Credential("caller", "caller", "ghp_of_the_caller")
FIRST, SECOND = (Credential("operator", name, f"ghp_{name}") for name in ("first", "second"))


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as started:
        yield started


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session(Metrics()) as opened:
        yield opened


def client(session: ClientSession, upstream: ScriptedUpstream, *operator: Credential) -> GitHubClient:
    return make_client(session, upstream.url, *operator)


def authorizations(upstream: ScriptedUpstream) -> list[str | None]:
    return [asked.headers.get("Authorization") for asked in upstream.asked]


async def test_requests_say_who_asks_and_which_version(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/repos/made-up/sample", repository())
    answer = await client(session, upstream).get("/repos/made-up/sample", caller=None)
    headers = upstream.asked[0].headers
    assert headers["X-GitHub-Api-Version"] == "2022-11-28"
    assert headers["User-Agent"].startswith("WeGit/")
    assert "Authorization" not in headers
    assert answer.credential.kind == "anonymous"
    assert json.loads(answer.body)["full_name"] == "made-up/sample"


async def test_the_callers_token_is_used_for_the_caller(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/repos/made-up/sample", repository(private=True))
    answer = await client(session, upstream, FIRST).get("/repos/made-up/sample", caller=CALLER)
    assert authorizations(upstream) == ["Bearer ghp_of_the_caller"]
    assert answer.credential is CALLER


async def test_the_operators_credentials_serve_everyone_else_and_a_resource_keeps_its_own(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    github = client(session, upstream, FIRST, SECOND)
    for n in range(20):
        upstream.answer(f"/users/{n}", {})
    for n in [*range(20), *range(20)]:
        await github.get(f"/users/{n}", caller=None)
    used = authorizations(upstream)
    assert set(used) == {"Bearer ghp_first", "Bearer ghp_second"}
    assert used[:20] == used[20:]


async def test_an_etag_goes_only_with_the_credential_that_got_it(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/users/made-up", {}, headers={"ETag": 'W/"1"'})
    upstream.answer("/users/made-up", status=304)
    upstream.answer("/users/made-up", {})
    reply = await client(session, upstream, FIRST).get("/users/made-up", caller=None)
    validator = Validator(reply.etag or "", reply.credential.identity)
    again = await client(session, upstream, FIRST).get("/users/made-up", caller=None, validator=validator)
    assert isinstance(again, NotModified)
    await client(session, upstream, SECOND).get("/users/made-up", caller=None, validator=validator)
    assert [asked.headers.get("If-None-Match") for asked in upstream.asked] == [None, 'W/"1"', None]


@pytest.mark.parametrize("etag", ["", 'W/"\u00e9"', f'"{"x" * 300}"'])
async def test_an_etag_that_cannot_be_sent_back_is_none(
    session: ClientSession, upstream: ScriptedUpstream, etag: str
) -> None:
    upstream.answer("/users/made-up", {}, headers={"ETag": etag})
    assert (await client(session, upstream, FIRST).get("/users/made-up", caller=None)).etag is None


async def test_a_limited_caller_is_not_asked_for_again(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/users/made-up", {}, status=429, headers={"Retry-After": "30"})
    github = client(session, upstream, FIRST)
    for _ in range(3):
        with pytest.raises(UpstreamLimited):
            await github.get("/users/made-up", caller=CALLER)
    assert authorizations(upstream) == ["Bearer ghp_of_the_caller"]


async def test_when_github_fails_call_after_call_the_next_ones_fail_at_once(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/users/made-up", {}, status=500)
    clock = SimulatedClock()
    github = make_client(session, upstream.url, FIRST, clock=clock)
    for _ in range(FAILURES_BEFORE_OPEN + 20):
        with pytest.raises(UpstreamFault):
            await github.get("/users/made-up", caller=None)
    assert len(upstream.asked) == FAILURES_BEFORE_OPEN
    clock.advance(5)
    for _ in range(5):
        with pytest.raises(UpstreamFault):
            await github.get("/users/made-up", caller=None)
    assert len(upstream.asked) == FAILURES_BEFORE_OPEN + 1


async def test_a_redirect_to_another_host_is_not_followed(session: ClientSession, upstream: ScriptedUpstream) -> None:
    async with ScriptedUpstream() as other:
        upstream.answer("/repos/made-up/old", status=301, headers={"Location": f"{other.url}/repositories/70"})
        with pytest.raises(UpstreamFault):
            await client(session, upstream, FIRST).get("/repos/made-up/old", caller=None)
        assert other.asked == []


async def test_redirects_without_end_are_a_fault(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/repos/made-up/old", status=301, headers={"Location": "/repos/made-up/old"})
    with pytest.raises(UpstreamFault):
        await client(session, upstream).get("/repos/made-up/old", caller=None)
    assert len(upstream.asked) == 4


async def test_a_spent_credential_rests_and_another_goes_on(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/repos/made-up/sample", {}, status=403, headers={"X-RateLimit-Remaining": "0"})
    upstream.answer("/repos/made-up/sample", repository())
    github = client(session, upstream, FIRST, SECOND)
    for _ in range(3):
        await github.get("/repos/made-up/sample", caller=None)
    first, *rest = authorizations(upstream)
    assert len(rest) == 3
    assert first not in rest


async def test_after_a_secondary_limit_no_other_credential_is_tried_for_the_same_request(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/users/made-up", {}, status=403, headers={"Retry-After": "30"})
    with pytest.raises(UpstreamLimited):
        await client(session, upstream, FIRST, SECOND).get("/users/made-up", caller=None)
    assert len(upstream.asked) == 1


async def test_when_all_credentials_rest_github_is_not_asked(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/repos/made-up/sample", {}, status=429, headers={"Retry-After": "30"})
    github = client(session, upstream)
    for _ in range(3):
        with pytest.raises(UpstreamLimited) as caught:
            await github.get("/repos/made-up/sample", caller=None)
        assert caught.value.retry_after_seconds is not None
        assert 29 <= caught.value.retry_after_seconds <= 30
    assert len(upstream.asked) == 1


async def test_a_callers_limit_does_not_rest_the_operators_credentials(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/repos/made-up/sample", {}, status=403, headers={"X-RateLimit-Remaining": "0"})
    upstream.answer("/repos/made-up/sample", repository())
    github = client(session, upstream, FIRST)
    with pytest.raises(UpstreamLimited):
        await github.get("/repos/made-up/sample", caller=CALLER)
    await github.get("/repos/made-up/sample", caller=None)


@pytest.mark.parametrize(
    ("caller", "headers", "expected"),
    [(CALLER, {}, True), (CALLER, {"Retry-After": "9"}, True), (None, {}, True), (None, {"Retry-After": "9"}, False)],
)
async def test_github_counts_as_away_when_it_limits_the_operator_not_when_it_refuses_something(
    session: ClientSession,
    upstream: ScriptedUpstream,
    caller: Credential | None,
    headers: dict[str, str],
    expected: bool,
) -> None:
    upstream.answer("/repos/made-up/sample", {}, status=403, headers=headers)
    github = client(session, upstream, FIRST)
    with pytest.raises((Forbidden, UpstreamLimited)):
        await github.get("/repos/made-up/sample", caller=caller)
    assert github.is_reachable is expected


async def test_a_renamed_repository_is_asked_for_on_condition_too(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/repos/made-up/old", status=301, headers={"Location": f"{upstream.url}/repositories/70"})
    upstream.answer("/repositories/70", status=304)
    validator = Validator('W/"1"', FIRST.identity)
    github = client(session, upstream, FIRST)
    assert isinstance(await github.get("/repos/made-up/old", caller=None, validator=validator), NotModified)
    assert [asked.headers.get("If-None-Match") for asked in upstream.asked] == ['W/"1"', 'W/"1"']


async def test_what_is_not_modified_costs_nothing(session: ClientSession, upstream: ScriptedUpstream) -> None:
    left = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "9999999999"}
    upstream.answer("/users/made-up", {}, headers=left)
    upstream.answer("/users/made-up", status=304, headers=left)
    github = client(session, upstream, FIRST)
    await github.get("/users/made-up", caller=None)
    validator = Validator('W/"1"', FIRST.identity)
    for _ in range(5):
        await github.get("/users/made-up", caller=None, validator=validator)


async def test_what_nobody_waits_for_stops_first(session: ClientSession, upstream: ScriptedUpstream) -> None:
    left = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "1000", "X-RateLimit-Reset": "9999999999"}
    upstream.answer("/users/made-up", {}, headers=left)
    github = client(session, upstream, FIRST)
    await github.get("/users/made-up", caller=None, purpose="background")
    with pytest.raises(UpstreamLimited):
        await github.get("/users/made-up", caller=None, purpose="background")
    await github.get("/users/made-up", caller=None)
    assert len(upstream.asked) == 2


@pytest.mark.parametrize(
    ("path", "second_left", "is_told"), [("/users/a", 900, 1), ("/users/a", 4000, 0), ("/search/users", 900, 0)]
)
async def test_operator_is_told_once_when_the_quota_of_all_credentials_is_low(
    session: ClientSession, upstream: ScriptedUpstream, path: str, second_left: int, is_told: int
) -> None:
    told: list[Alert] = []

    async def deliver(alert: Alert) -> None:
        told.append(alert)

    alerts = Alerts("repo-service", deliver, Metrics())
    keeper = QuotaKeeper()
    github = make_client(session, upstream.url, FIRST, SECOND, keeper=keeper, alerts=alerts)
    upstream.answer(path, {})
    now = time.monotonic()
    for credential, left in ((FIRST, 900), (SECOND, second_left)):
        headers = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": "3600"}
        for bucket in ("core", "search"):
            keeper.note_headers(credential, bucket, headers, now, 0)
    for _ in range(3):
        with suppress(UpstreamLimited):
            await github.get(path, caller=None, purpose="background")
        await alerts.flush()

    assert len({alert.dedup_key for alert in told}) == is_told
    assert {alert.error for alert in told} <= {"QuotaLow"}


async def test_not_more_than_an_address_is_allowed_is_asked_at_once(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/search/repositories", {})
    github = client(session, upstream)
    answers = await asyncio.gather(
        *(github.get("/search/repositories", {"q": n}, caller=None) for n in range(25)), return_exceptions=True
    )
    assert len(upstream.asked) == 10
    assert sum(isinstance(answer, UpstreamLimited) for answer in answers) == 15


async def test_a_refused_caller_is_told_so(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/user", {"message": "Bad credentials"}, status=401)
    with pytest.raises(Unauthorized):
        await client(session, upstream).get("/user", caller=CALLER)


async def test_a_revoked_operator_credential_is_not_the_callers_fault(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/repos/made-up/sample", {"message": "Bad credentials"}, status=401)
    upstream.answer("/repos/made-up/sample", repository())
    answer = await client(session, upstream, FIRST, SECOND).get("/repos/made-up/sample", caller=None)
    assert json.loads(answer.body)["id"] == 70


async def test_a_powerful_or_refused_credential_is_warned_of_at_start(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/rate_limit", {}, headers={"X-OAuth-Scopes": "read:user, repo"})
    upstream.answer("/rate_limit", {"message": "Bad credentials"}, status=401)
    checked: set[str] = set()
    with structlog.testing.capture_logs() as events:
        await client(session, upstream, FIRST, SECOND).check_operator_credentials(checked)
        await client(session, upstream, FIRST, SECOND).check_operator_credentials(checked)
    warned = [(event["event"], event["credential"]) for event in events if event.get("credential")]
    assert warned == [("credential.too_powerful", "first"), ("credential.rested", "second")]
    assert "ghp_" not in str(events)

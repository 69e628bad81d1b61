"""The GitHub client on a real wire: credentials, redirects, limits."""

import json
from collections.abc import AsyncIterator

import pytest
import structlog
from aiohttp import ClientSession

from github_client.client import GitHubClient
from github_client.credentials import Credential, OperatorCredentials
from service_kit.client import open_session
from service_kit.errors import (
    Unauthorized,
    UpstreamFault,
    UpstreamLimited,
)
from service_kit.metrics import Metrics
from tests.fakes.github_objects import repository
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
    return GitHubClient(session, upstream.url, OperatorCredentials(operator))


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


async def test_the_operators_credentials_serve_everyone_else(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/repos/made-up/sample", repository())
    github = client(session, upstream, FIRST, SECOND)
    for _ in range(2):
        await github.get("/repos/made-up/sample", caller=None)
    assert set(authorizations(upstream)) == {"Bearer ghp_first", "Bearer ghp_second"}


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
    assert warned == [("credential.too_powerful", "first"), ("credential.unchecked", "second")]
    assert "ghp_" not in str(events)

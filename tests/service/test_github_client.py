"""The GitHub client on a real wire: credentials, redirects, limits, and what an operator's credential may not show."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession

from github_client.client import GitHubClient
from github_client.credentials import Credential, OperatorCredentials
from github_client.rest import (
    MARKDOWN,
    fetch_caller,
    fetch_developer,
    fetch_events,
    fetch_repository,
    fetch_repository_and_readme,
    search_repositories,
)
from service_kit.client import open_session
from service_kit.errors import (
    NotFound,
    Unauthorized,
    UnavailableForLegalReasons,
    UnprocessableParameter,
    UpstreamFault,
    UpstreamLimited,
)
from service_kit.metrics import Metrics
from tests.fakes.upstream import ScriptedUpstream

CALLER = Credential("caller", "caller", "ghp_of_the_caller")
FIRST, SECOND = (Credential("operator", name, f"ghp_{name}") for name in ("first", "second"))


def repository(**changes: Any) -> dict[str, Any]:
    return {
        "id": 70,
        "name": "sample",
        "full_name": "made-up/sample",
        "owner": {"login": "made-up", "avatar_url": "https://avatars.example/u/7"},
        "private": False,
        "html_url": "https://github.com/made-up/sample",
        "description": None,
        "fork": False,
        "stargazers_count": 1,
        "forks_count": 2,
        "open_issues_count": 3,
        "default_branch": "trunk",
        "created_at": "2024-01-02T03:04:05Z",
        "updated_at": "2026-11-20T00:00:00Z",
        **changes,
    }


def event(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "type": "WatchEvent",
        "actor": {"login": "made-up", "avatar_url": "https://avatars.example/u/7"},
        "repo": {"name": "made-up/sample"},
        "created_at": "2026-11-20T00:00:00Z",
        "public": True,
        **changes,
    }


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
    answer = await fetch_repository(client(session, upstream), "made-up", "sample", None)
    headers = upstream.asked[0].headers
    assert headers["X-GitHub-Api-Version"] == "2022-11-28"
    assert headers["User-Agent"].startswith("WeGit/")
    assert "Authorization" not in headers
    assert (answer.value.full_name, answer.personal) == ("made-up/sample", False)


async def test_the_callers_token_is_used_for_the_caller(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/repos/made-up/sample", repository(private=True))
    answer = await fetch_repository(client(session, upstream, FIRST), "made-up", "sample", CALLER)
    assert authorizations(upstream) == ["Bearer ghp_of_the_caller"]
    assert answer.personal


async def test_the_operators_credentials_serve_everyone_else(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/repos/made-up/sample", repository())
    github = client(session, upstream, FIRST, SECOND)
    for _ in range(2):
        await fetch_repository(github, "made-up", "sample", None)
    assert set(authorizations(upstream)) == {"Bearer ghp_first", "Bearer ghp_second"}


async def test_what_is_private_counts_as_missing_for_everyone_else(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/repos/made-up/sample", repository(private=True))
    upstream.answer("/repos/made-up/sample/readme", b"# Secret plans")
    github = client(session, upstream, FIRST)
    with pytest.raises(NotFound):
        await fetch_repository(github, "made-up", "sample", None)
    with pytest.raises(NotFound):
        await fetch_repository_and_readme(github, "made-up", "sample", MARKDOWN, None)


async def test_private_search_results_are_dropped_for_everyone_else(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    items = [repository(), repository(id=71, private=True)]
    upstream.answer("/search/repositories", {"total_count": 2, "incomplete_results": False, "items": items})
    github = client(session, upstream, FIRST)
    anonymous = await search_repositories(github, {"q": "x"}, None)
    personal = await search_repositories(github, {"q": "x"}, CALLER)
    assert [item.id for item in anonymous.value.items] == [70]
    assert [item.id for item in personal.value.items] == [70, 71]


async def test_private_events_are_dropped_for_everyone_else(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/users/made-up/received_events", [event(1), event(2, public=False)])
    github = client(session, upstream, FIRST)
    anonymous = await fetch_events(github, "made-up", "received_events", 1, None)
    personal = await fetch_events(github, "made-up", "received_events", 1, CALLER)
    assert [one.id for one in anonymous.value] == ["1"]
    assert [one.id for one in personal.value] == ["1", "2"]


async def test_an_event_without_its_actor_does_not_spoil_the_page(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/users/made-up/events/public", [event(1, actor=None), event(2), event(3, repo={})])
    answer = await fetch_events(client(session, upstream), "made-up", "events/public", 1, None)
    assert [one.id for one in answer.value] == ["2"]


async def test_a_renamed_repository_is_followed_and_has_its_new_name(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/repos/made-up/old", status=301, headers={"Location": f"{upstream.url}/repositories/70"})
    upstream.answer("/repositories/70", repository(name="new", full_name="made-up/new"))
    answer = await fetch_repository(client(session, upstream, FIRST), "made-up", "old", None)
    assert answer.value.full_name == "made-up/new"
    assert authorizations(upstream) == ["Bearer ghp_first"] * 2


async def test_a_redirect_to_another_host_is_not_followed(session: ClientSession, upstream: ScriptedUpstream) -> None:
    async with ScriptedUpstream() as other:
        upstream.answer("/repos/made-up/old", status=301, headers={"Location": f"{other.url}/repositories/70"})
        with pytest.raises(UpstreamFault):
            await fetch_repository(client(session, upstream, FIRST), "made-up", "old", None)
        assert other.asked == []


async def test_redirects_without_end_are_a_fault(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/repos/made-up/old", status=301, headers={"Location": "/repos/made-up/old"})
    with pytest.raises(UpstreamFault):
        await fetch_repository(client(session, upstream), "made-up", "old", None)
    assert len(upstream.asked) == 4


async def test_a_spent_credential_rests_and_another_goes_on(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/repos/made-up/sample", {}, status=403, headers={"X-RateLimit-Remaining": "0"})
    upstream.answer("/repos/made-up/sample", repository())
    github = client(session, upstream, FIRST, SECOND)
    for _ in range(3):
        await fetch_repository(github, "made-up", "sample", None)
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
            await fetch_repository(github, "made-up", "sample", None)
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
        await fetch_repository(github, "made-up", "sample", CALLER)
    await fetch_repository(github, "made-up", "sample", None)


async def test_a_refused_caller_is_told_so(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/user", {"message": "Bad credentials"}, status=401)
    with pytest.raises(Unauthorized):
        await fetch_caller(client(session, upstream), CALLER)


async def test_a_revoked_operator_credential_is_not_the_callers_fault(
    session: ClientSession, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/repos/made-up/sample", {"message": "Bad credentials"}, status=401)
    upstream.answer("/repos/made-up/sample", repository())
    answer = await fetch_repository(client(session, upstream, FIRST, SECOND), "made-up", "sample", None)
    assert answer.value.id == 70


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFound), (410, NotFound), (451, UnavailableForLegalReasons), (500, UpstreamFault)]
)
async def test_statuses_have_their_errors(
    session: ClientSession, upstream: ScriptedUpstream, status: int, error: type[Exception]
) -> None:
    upstream.answer("/users/made-up", {"message": "no"}, status=status)
    with pytest.raises(error):
        await fetch_developer(client(session, upstream), "made-up", None)


async def test_a_query_that_github_refuses_is_the_callers(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/search/repositories", {"message": "Validation Failed"}, status=422)
    with pytest.raises(UnprocessableParameter) as caught:
        await search_repositories(client(session, upstream), {"q": "a NOT NOT"}, None)
    assert caught.value.members["parameter"] == "q"


@pytest.mark.parametrize(
    "body", [b"<html><body>Unicorn!</body></html>", b'{"login":"made-up","id":7,"avat', b"[]", b"", b"\xff\xfe"]
)
async def test_a_body_that_cannot_be_read_is_a_fault(
    session: ClientSession, upstream: ScriptedUpstream, body: bytes
) -> None:
    upstream.answer("/users/made-up", body, headers={"Content-Type": "application/json; charset=utf-8"})
    with pytest.raises(UpstreamFault):
        await fetch_developer(client(session, upstream), "made-up", None)


async def test_a_failing_readme_leaves_the_repository(session: ClientSession, upstream: ScriptedUpstream) -> None:
    upstream.answer("/repos/made-up/sample", repository())
    upstream.answer("/repos/made-up/sample/readme", b"oops", status=500)
    github = client(session, upstream)
    answer, readme = await fetch_repository_and_readme(github, "made-up", "sample", MARKDOWN, None)
    assert answer.value.id == 70
    assert isinstance(readme, UpstreamFault)


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

"""GitHub's resources: how each is read, and what an operator's credential may not show."""

from collections.abc import AsyncIterator

import pytest

from github_client.cached_github import CachedGitHub
from github_client.clock import Clock
from github_client.credentials import Credential
from github_client.rest import (
    MARKDOWN,
    fetch_developer,
    fetch_events,
    fetch_repository,
    fetch_repository_and_readme,
    search_repositories,
)
from service_kit.errors import (
    NotFound,
    UnavailableForLegalReasons,
    UnprocessableParameter,
    UpstreamFault,
)
from tests.fakes.github_objects import event, repository
from tests.fakes.replica import replica
from tests.fakes.upstream import ScriptedUpstream

CALLER = Credential("caller", "caller", "ghp_of_the_caller")
OPERATOR = Credential("operator", "operator", "ghp_of_the_operator")
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as started:
        yield started


@pytest.fixture
async def github(upstream: ScriptedUpstream) -> AsyncIterator[CachedGitHub]:
    """It has no Postgres: GitHub is asked all the same."""
    async with replica(upstream.url, NO_DATABASE, Clock(), OPERATOR) as started:
        yield started


async def test_what_is_private_counts_as_missing_for_everyone_else(
    github: CachedGitHub, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/repos/made-up/sample", repository(private=True))
    upstream.answer("/repos/made-up/sample/readme", b"# Secret plans")
    with pytest.raises(NotFound):
        await fetch_repository(github, "made-up", "sample", None)
    with pytest.raises(NotFound):
        await fetch_repository_and_readme(github, "made-up", "sample", MARKDOWN, None)


async def test_private_search_results_are_dropped_for_everyone_else(
    github: CachedGitHub, upstream: ScriptedUpstream
) -> None:
    items = [repository(), repository(id=71, private=True)]
    upstream.answer("/search/repositories", {"total_count": 2, "incomplete_results": False, "items": items})
    anonymous = await search_repositories(github, {"q": "x"}, None)
    personal = await search_repositories(github, {"q": "x"}, CALLER)
    assert [item.id for item in anonymous.value.items] == [70]
    assert [item.id for item in personal.value.items] == [70, 71]


async def test_private_events_are_dropped_for_everyone_else(github: CachedGitHub, upstream: ScriptedUpstream) -> None:
    upstream.answer("/users/made-up/received_events", [event(1), event(2, public=False)])
    anonymous = await fetch_events(github, "made-up", "received_events", 1, None)
    personal = await fetch_events(github, "made-up", "received_events", 1, CALLER)
    assert [one.id for one in anonymous.value] == ["1"]
    assert [one.id for one in personal.value] == ["1", "2"]


async def test_an_event_without_its_actor_does_not_spoil_the_page(
    github: CachedGitHub, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/users/made-up/events/public", [event(1, actor=None), event(2), event(3, repo={})])
    answer = await fetch_events(github, "made-up", "events/public", 1, None)
    assert [one.id for one in answer.value] == ["2"]


async def test_a_renamed_repository_is_followed_and_has_its_new_name(
    github: CachedGitHub, upstream: ScriptedUpstream
) -> None:
    upstream.answer("/repos/made-up/old", status=301, headers={"Location": f"{upstream.url}/repositories/70"})
    upstream.answer("/repositories/70", repository(name="new", full_name="made-up/new"))
    answer = await fetch_repository(github, "made-up", "old", None)
    assert answer.value.full_name == "made-up/new"


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFound), (410, NotFound), (451, UnavailableForLegalReasons), (500, UpstreamFault)]
)
async def test_statuses_have_their_errors(
    github: CachedGitHub, upstream: ScriptedUpstream, status: int, error: type[Exception]
) -> None:
    upstream.answer("/users/made-up", {"message": "no"}, status=status)
    with pytest.raises(error):
        await fetch_developer(github, "made-up", None)


async def test_a_query_that_github_refuses_is_the_callers(github: CachedGitHub, upstream: ScriptedUpstream) -> None:
    upstream.answer("/search/repositories", {"message": "Validation Failed"}, status=422)
    with pytest.raises(UnprocessableParameter) as caught:
        await search_repositories(github, {"q": "a NOT NOT"}, None)
    assert caught.value.members["parameter"] == "q"


@pytest.mark.parametrize(
    "body", [b"<html><body>Unicorn!</body></html>", b'{"login":"made-up","id":7,"avat', b"[]", b"", b"\xff\xfe"]
)
async def test_a_body_that_cannot_be_read_is_a_fault(
    github: CachedGitHub, upstream: ScriptedUpstream, body: bytes
) -> None:
    upstream.answer("/users/made-up", body, headers={"Content-Type": "application/json; charset=utf-8"})
    with pytest.raises(UpstreamFault):
        await fetch_developer(github, "made-up", None)


async def test_a_failing_readme_leaves_the_repository(github: CachedGitHub, upstream: ScriptedUpstream) -> None:
    upstream.answer("/repos/made-up/sample", repository())
    upstream.answer("/repos/made-up/sample/readme", b"oops", status=500)
    answer, readme = await fetch_repository_and_readme(github, "made-up", "sample", MARKDOWN, None)
    assert answer.value.id == 70
    assert isinstance(readme, UpstreamFault)

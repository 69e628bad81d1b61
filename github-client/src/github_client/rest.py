"""GitHub's REST resources as typed answers: one function each, and what an operator's credential may not show."""

import asyncio
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import structlog

from github_client.client import GitHubClient, GitHubReply
from github_client.credentials import Credential
from github_client.models import Answer, Developer, Event, FoundDeveloper, Repository, SearchResult
from github_client.protocol import last_known_page, page_of, parse_links
from service_kit.errors import NotFound, ServiceError, UnprocessableParameter, UpstreamFault, UpstreamStatus

PER_PAGE = 30
SEARCH_RESULT_LIMIT = 1000
LAST_SEARCH_PAGE = -(-SEARCH_RESULT_LIMIT // PER_PAGE)
"""34: GitHub serves each page that begins within the first 1,000 results."""
LAST_EVENTS_PAGE = 10
"""GitHub keeps at most 300 events."""
SEARCH_QUERY_LIMIT_CHARACTERS = 256
MARKDOWN = "application/vnd.github.raw+json"
HTML = "application/vnd.github.html+json"
T = TypeVar("T")
log = structlog.get_logger()


async def fetch_repository(
    github: GitHubClient, owner: str, name: str, caller: Credential | None
) -> Answer[Repository]:
    """One repository, under its present name where it was renamed.

    Raises NotFound (a private one counts as missing unless the caller's own token reaches it) and what `get` raises.
    """
    reply = await github.get(f"/repos/{quote(owner)}/{quote(name)}", caller=caller)
    repository = _decode(reply.body, Repository)
    if repository.private and reply.credential.kind != "caller":
        raise NotFound("GitHub has no such thing, or does not show it.")
    return _answer(reply, repository)


async def fetch_repository_and_readme(
    github: GitHubClient, owner: str, name: str, media_type: str, caller: Credential | None
) -> tuple[Answer[Repository], Answer[str] | ServiceError]:
    """A repository and its README (`media_type` MARKDOWN or HTML), both asked for at once.

    The README's failure is returned, the repository's is raised: without a public repository there is no README.
    """
    readme_task = asyncio.create_task(_fetch_readme(github, owner, name, media_type, caller))
    try:
        repository = await fetch_repository(github, owner, name, caller)
        return repository, await readme_task
    finally:
        readme_task.cancel()


async def _fetch_readme(
    github: GitHubClient, owner: str, name: str, media_type: str, caller: Credential | None
) -> Answer[str] | ServiceError:
    try:
        reply = await github.get(f"/repos/{quote(owner)}/{quote(name)}/readme", caller=caller, accept=media_type)
    except ServiceError as error:
        return error
    return _answer(reply, reply.body.decode("utf-8", "replace"))


async def fetch_developer(github: GitHubClient, login: str, caller: Credential | None) -> Answer[Developer]:
    """One user or organisation. Raises what `get` raises."""
    reply = await github.get(f"/users/{quote(login)}", caller=caller)
    return _answer(reply, _decode(reply.body, Developer))


async def fetch_caller(github: GitHubClient, caller: Credential) -> Answer[Developer]:
    """The developer whose token this is. Raises Unauthorized when GitHub does not accept it."""
    reply = await github.get("/user", caller=caller)
    return _answer(reply, _decode(reply.body, Developer))


async def fetch_events(
    github: GitHubClient, login: str, kind: str, page: int, caller: Credential | None
) -> Answer[list[Event]]:
    """A page of 30 events; `kind` is `received_events` or `events/public`. Private ones only with the caller's token.

    An event that lacks what every event has is left out rather than failing the page. Raises what `get` raises.
    """
    parameters = {"page": page, "per_page": PER_PAGE}
    reply = await github.get(f"/users/{quote(login)}/{kind}", parameters, caller=caller)
    events = []
    for raw in _decode(reply.body, list[msgspec.Raw]):
        try:
            event = msgspec.json.decode(raw, type=Event)
        except msgspec.MsgspecError as error:
            log.warning("event.unreadable", error=str(error))
            continue
        if event.public or reply.credential.kind == "caller":
            events.append(event)
    return _answer(reply, events, page)


async def search_repositories(
    github: GitHubClient, parameters: dict[str, str | int], caller: Credential | None
) -> Answer[SearchResult[Repository]]:
    """A page of 30 repositories for GitHub's search `parameters` (q, sort, order, page).

    Private ones are left out unless the caller's own token found them. Raises UnprocessableParameter for a query that
    GitHub cannot take, and what `get` raises.
    """
    answer = await _search(github, "repositories", parameters, Repository, caller)
    if not answer.personal:
        answer.value.items[:] = [item for item in answer.value.items if not item.private]
    return answer


async def search_developers(
    github: GitHubClient, parameters: dict[str, str | int], caller: Credential | None
) -> Answer[SearchResult[FoundDeveloper]]:
    """A page of 30 users and organisations. Raises as `search_repositories`."""
    return await _search(github, "users", parameters, FoundDeveloper, caller)


async def _search(
    github: GitHubClient,
    what: str,
    parameters: dict[str, str | int],
    item_type: type[T],
    caller: Credential | None,
) -> Answer[SearchResult[T]]:
    page = int(parameters.get("page", 1))
    try:
        reply = await github.get(f"/search/{what}", {**parameters, "per_page": PER_PAGE}, caller=caller)
    except UpstreamStatus as error:
        if error.upstream_status == 422:
            raise UnprocessableParameter("q", "GitHub cannot process this query.") from error
        raise
    result: SearchResult[T] = _decode(reply.body, SearchResult[item_type])  # type: ignore[valid-type]
    return _answer(reply, result, page)


def _answer(reply: GitHubReply, value: T, page: int = 1) -> Answer[T]:
    links = parse_links(reply.headers.get("Link"))
    return Answer(
        value=value,
        as_of=reply.as_of,
        personal=reply.credential.kind == "caller",
        next_page=page_of(links.get("next")),
        last_known_page=last_known_page(page, links),
    )


def _decode(body: bytes, wanted: Any) -> Any:
    """Raises UpstreamFault for what is no JSON of this shape: HTML labelled as JSON and cut bodies do occur."""
    try:
        return msgspec.json.decode(body, type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("upstream.body_unreadable", error=str(error))
        raise UpstreamFault("GitHub's answer cannot be read.") from error

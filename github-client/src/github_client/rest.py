"""GitHub's REST resources as typed answers: one function each, and what an operator's credential may not show."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import structlog

from github_client.cached_github import CachedGitHub
from github_client.client import JSON, GitHubReply
from github_client.credentials import Credential
from github_client.lifetimes import Kind
from github_client.models import Developer, Event, FoundDeveloper, Repository, SearchResult
from github_client.resource import Answer, Resource
from service_kit.answers import Freshness
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
_OPERATORS = frozenset({"AND", "OR", "NOT"})
T = TypeVar("T")
log = structlog.get_logger()
_decoders: dict[Any, Callable[[bytes], Any]] = {}


async def fetch_repository(
    github: CachedGitHub, owner: str, name: str, caller: Credential | None
) -> Answer[Repository]:
    """One repository, under its present name where it was renamed.

    Raises NotFound (a private one counts as missing unless the caller's own token reaches it) and what `answer` raises.
    """

    resource = _personal_repository(owner, name) if caller else _public_repository(owner, name)
    return await github.answer(resource, caller)


@lru_cache(maxsize=4096)  # to find a copy takes less time than to say which
def _public_repository(owner: str, name: str) -> Resource[Repository]:
    return _resource("repository", _path(owner, name), Repository, _read_public_repository)


def _personal_repository(owner: str, name: str) -> Resource[Repository]:
    return _resource("repository", _path(owner, name), Repository, _reads(Repository))


async def _read_public_repository(reply: GitHubReply) -> Repository:
    repository: Repository = decode(reply.body, Repository)
    if repository.private:
        raise NotFound("GitHub has no such thing, or does not show it.")
    return repository


async def fetch_repository_and_readme(
    github: CachedGitHub,
    owner: str,
    name: str,
    media_type: str,
    caller: Credential | None,
    prepare: Callable[[str], str] = str,
) -> tuple[Answer[Repository], Answer[str] | ServiceError]:
    """A repository and its README (`media_type` MARKDOWN or HTML), both asked for at once.

    The README's failure is returned, the repository's is raised: without a public repository there is no README.
    `prepare` makes of the README what is kept, in a thread: it may take milliseconds.
    """
    readme_task = asyncio.create_task(_fetch_readme(github, owner, name, media_type, caller, prepare))
    try:
        repository = await fetch_repository(github, owner, name, caller)
        return repository, await readme_task
    finally:
        readme_task.cancel()


def is_missing(part: Answer[T] | ServiceError) -> bool:
    """Whether a part could not be had now; one that is not there is not missing."""
    return isinstance(part, ServiceError) and not isinstance(part, NotFound)


def freshness_of_both(answer: Answer[Repository], part: Answer[str] | ServiceError) -> Freshness:
    """How fresh a composed answer is: as its older part. Without one that may come back it is not to be reused."""
    if isinstance(part, Answer):
        return min(answer.freshness, part.freshness, key=lambda one: one.seconds_left)
    return answer.freshness._replace(seconds_left=0, revalidate_seconds=0) if is_missing(part) else answer.freshness


async def _fetch_readme(
    github: CachedGitHub,
    owner: str,
    name: str,
    media_type: str,
    caller: Credential | None,
    prepare: Callable[[str], str],
) -> Answer[str] | ServiceError:
    async def read(reply: GitHubReply) -> str:
        if media_type == MARKDOWN and reply.headers.get("Content-Type", "").startswith("text/html"):
            raise UpstreamFault("GitHub sent a page instead of a README.")
        if caller is None and may_be_private(reply):
            # A copy of the repository says what was so minutes ago. A check with its ETag costs a call, but no quota.
            await fetch_repository(github, owner, name, None)
            await github.ask_anew(_public_repository(owner, name))
        return await asyncio.to_thread(prepare, reply.body.decode("utf-8", "replace"))

    resource = _resource("readme", f"{_path(owner, name)}/readme", str, read, accept=media_type)
    try:
        return await github.answer(resource, caller)
    except ServiceError as error:
        return error


def may_be_private(reply: GitHubReply) -> bool:
    """Whether whoever was shown this may read private repositories; only a classic token's scopes say that it may not.

    Source: https://docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
    """
    scopes = reply.headers.get("X-OAuth-Scopes")
    if reply.credential.kind == "anonymous":
        return False
    return scopes is None or "repo" in {scope.strip() for scope in scopes.split(",")}


async def fetch_developer(github: CachedGitHub, login: str, caller: Credential | None) -> Answer[Developer]:
    """One user or organisation. Raises what `answer` raises."""
    return await github.answer(_resource("developer", f"/users/{quote(login)}", Developer, _reads(Developer)), caller)


async def fetch_caller(github: CachedGitHub, caller: Credential) -> Answer[Developer]:
    """The developer whose token this is. Raises Unauthorized when GitHub does not accept it."""
    return await github.answer(_resource("caller", "/user", Developer, _reads(Developer)), caller)


async def fetch_events(
    github: CachedGitHub, login: str, kind: str, page: int, caller: Credential | None
) -> Answer[list[Event]]:
    """A page of 30 events; `kind` is `received_events` or `events/public`. Private ones only with the caller's token.

    An event that lacks what every event has is left out rather than failing the page. Raises what `answer` raises.
    """

    async def read(reply: GitHubReply) -> list[Event]:
        events = []
        for raw in decode(reply.body, list[msgspec.Raw]):
            try:
                event = msgspec.json.decode(raw, type=Event)
            except msgspec.MsgspecError as error:
                log.warning("event.unreadable", error=str(error))
                continue
            if event.public or caller is not None:
                events.append(event)
        return events

    parameters = {"page": page, "per_page": PER_PAGE}
    resource = _resource("events", f"/users/{quote(login)}/{kind}", list[Event], read, parameters)
    return await github.answer(resource, caller)


async def search_repositories(
    github: CachedGitHub, parameters: dict[str, str | int], caller: Credential | None
) -> Answer[SearchResult[Repository]]:
    """A page of 30 repositories for GitHub's search `parameters` (q, sort, order, page).

    Private ones are left out unless the caller's own token found them. Raises UnprocessableParameter for a query that
    GitHub cannot take, and what `answer` raises.
    """

    async def read(reply: GitHubReply) -> SearchResult[Repository]:
        result: SearchResult[Repository] = decode(reply.body, SearchResult[Repository])
        if caller is None:
            result.items[:] = [item for item in result.items if not item.private]
        return result

    return await _search(github, "repositories", parameters, SearchResult[Repository], read, caller)


async def search_developers(
    github: CachedGitHub, parameters: dict[str, str | int], caller: Credential | None
) -> Answer[SearchResult[FoundDeveloper]]:
    """A page of 30 users and organisations. Raises as `search_repositories`."""
    wanted = SearchResult[FoundDeveloper]
    return await _search(github, "users", parameters, wanted, _reads(wanted), caller)


async def _search(
    github: CachedGitHub,
    what: str,
    parameters: dict[str, str | int],
    wanted: type[T],
    read: Callable[[GitHubReply], Awaitable[T]],
    caller: Credential | None,
) -> Answer[T]:
    asked = {**parameters, "q": normalised_query(str(parameters["q"])), "per_page": PER_PAGE}
    try:
        return await github.answer(_resource("search", f"/search/{what}", wanted, read, asked), caller)
    except UpstreamStatus as error:
        if error.upstream_status == 422:
            raise UnprocessableParameter("q", "GitHub cannot process this query.") from error
        raise


def normalised_query(text: str) -> str:
    """The same for every way to write the same search: single spaces, lower case but for AND, OR and NOT.

    GitHub's search cares for case in these three words alone.
    """
    return " ".join(word if word in _OPERATORS else word.lower() for word in text.split())


def _path(owner: str, name: str) -> str:
    return f"/repos/{quote(owner)}/{quote(name)}"


def _resource(
    kind: Kind,
    path: str,
    wanted: Any,
    read: Callable[[GitHubReply], Awaitable[T]],
    parameters: Mapping[str, str | int] | None = None,
    accept: str = JSON,
) -> Resource[T]:
    decode = _decoders.get(wanted)
    if decode is None:
        decode = _decoders[wanted] = msgspec.json.Decoder(wanted).decode
    return Resource(kind, path, parameters or {}, accept, decode, read)


def _reads(wanted: type[T]) -> Callable[[GitHubReply], Awaitable[T]]:
    async def read(reply: GitHubReply) -> T:
        found: T = decode(reply.body, wanted)
        return found

    return read


def decode(body: bytes, wanted: Any) -> Any:
    """Raises UpstreamFault for what is no JSON of this shape: HTML labelled as JSON and cut bodies do occur."""
    try:
        return msgspec.json.decode(body, type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        log.warning("upstream.body_unreadable", error=str(error))
        raise UpstreamFault("GitHub's answer cannot be read.") from error

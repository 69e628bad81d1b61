"""Handlers of the original paths: what the first mini-program reads, field by field, bare and without an envelope."""

from datetime import datetime

import msgspec
from aiohttp import web

from github_client.credentials import caller_credential, credential_in
from github_client.models import Developer, Event
from github_client.parameters import login
from github_client.rest import LAST_EVENTS_PAGE, fetch_caller, fetch_developer, fetch_events
from github_client.service import CATALOGUE, GITHUB, TRENDING
from github_client.trending.page_key import read_page_key
from github_client.trending.parser import TrendingDeveloper
from service_kit.answers import json_answer
from service_kit.errors import InvalidParameter
from service_kit.query import Query

_decode_rows = msgspec.json.Decoder(list[TrendingDeveloper]).decode


class OriginalPopularRepository(msgspec.Struct):
    """A developer's popular repository; the name is empty where the page shows none (the client needs the object)."""

    name: str = ""
    description: str | None = None


class OriginalTrendingDeveloper(msgspec.Struct):
    """A trending row."""

    username: str
    avatar: str | None
    repo: OriginalPopularRepository


class OriginalDeveloper(msgspec.Struct):
    """A profile; texts are null where the profile has none."""

    login: str
    avatar_url: str
    name: str | None
    bio: str | None
    public_repos: int
    followers: int
    following: int
    email: str | None
    blog: str | None
    company: str | None
    location: str | None


class OriginalActor(msgspec.Struct):
    """Who did it; `display_login` is never missing."""

    login: str
    display_login: str
    avatar_url: str


class OriginalEventRepository(msgspec.Struct):
    """Where it happened, as `owner/name`."""

    name: str


class OriginalEvent(msgspec.Struct):
    """Something that happened; `created_at` is UTC."""

    id: str
    type: str
    created_at: datetime
    actor: OriginalActor
    repo: OriginalEventRepository


async def list_trending_developers(request: web.Request) -> web.Response:
    """`GET /trending-developers?since=&language=`: a bare list, best first."""
    key = read_page_key(
        "developers", Query(request.rel_url.raw_query_string, plus_is_space=False), request.app[CATALOGUE]
    )
    answer = await request.app[TRENDING].latest(key)
    rows = [trending_row(row) for row in _decode_rows(answer.rows)]
    return json_answer(request, rows, answer.freshness)


async def get_developer(request: web.Request) -> web.Response:
    """`GET /developers?name=` shows a profile; `?token=` logs in: 200 with the caller's own, 401 for a bad token."""
    query = Query(request.rel_url.raw_query_string, plus_is_space=False)
    if ("name" in query) == ("token" in query):
        raise InvalidParameter("name", "or token should be given, one of the two.")
    if "token" in query:
        answer = await fetch_caller(request.app[GITHUB], caller_credential(query.text("token") or ""))
        return json_answer(request, developer(answer.value), answer.freshness)
    answer = await fetch_developer(request.app[GITHUB], login("name", query.required("name")), None)
    return json_answer(request, developer(answer.value), answer.freshness)


async def list_received_events(request: web.Request) -> web.Response:
    """`GET /developers/{login}/events?page=`, a bare token in `Authorization`; `Max-Page` says how far it goes."""
    name = login("login", request.match_info["login"])
    page = Query(request.rel_url.raw_query_string, plus_is_space=False).page(most=LAST_EVENTS_PAGE)
    caller = credential_in(request.headers.get("Authorization"))
    answer = await fetch_events(request.app[GITHUB], name, "received_events", page, caller)
    headers = {"Max-Page": str(answer.last_known_page)}
    return json_answer(request, [event(one) for one in answer.value], answer.freshness, headers=headers)


def trending_row(row: TrendingDeveloper) -> OriginalTrendingDeveloper:
    """A parsed row in the client's words."""
    popular = row.repository
    repo = OriginalPopularRepository(popular.name, popular.description) if popular else OriginalPopularRepository()
    return OriginalTrendingDeveloper(username=row.login, avatar=row.avatar_url, repo=repo)


def developer(found: Developer) -> OriginalDeveloper:
    """GitHub's developer in the client's words."""
    return msgspec.convert(found, OriginalDeveloper, from_attributes=True)


def event(found: Event) -> OriginalEvent:
    """GitHub's event in the client's words."""
    actor = found.actor
    return OriginalEvent(
        id=found.id,
        type=found.type,
        created_at=found.created_at,
        actor=OriginalActor(actor.login, actor.display_login or actor.login, actor.avatar_url),
        repo=OriginalEventRepository(found.repo.name),
    )

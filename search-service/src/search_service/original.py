"""The handler of the original path: what the first mini-program reads, bare and without an envelope."""

from datetime import datetime

import msgspec
from aiohttp import web

from github_client.models import Repository
from github_client.rest import search_repositories as search_github_repositories
from github_client.service import GITHUB
from search_service.parameters import search_parameters
from service_kit.answers import json_answer
from service_kit.query import Query


class OriginalOwner(msgspec.Struct):
    """The only part of a repository's owner that the client reads."""

    login: str


class OriginalFoundRepository(msgspec.Struct):
    """A search result; `updated_at` is UTC."""

    id: int
    owner: OriginalOwner
    name: str
    description: str | None
    language: str | None
    stargazers_count: int
    updated_at: datetime


async def search_repositories(request: web.Request) -> web.Response:
    """`GET /search/repositories?name=&page=`: a bare list; `Max-Page` tells how far it goes."""
    query = Query(request.rel_url.raw_query_string, plus_is_space=False)
    parameters = search_parameters(query, "name")
    answer = await search_github_repositories(request.app[GITHUB], parameters, None)
    headers = {"Max-Page": str(answer.last_known_page)}
    found = [found_repository(item) for item in answer.value.items]
    return json_answer(request, found, answer.freshness, headers=headers)


def found_repository(found: Repository) -> OriginalFoundRepository:
    """GitHub's search result in the client's words."""
    return msgspec.convert(found, OriginalFoundRepository, from_attributes=True)

"""Handlers of `/v1`: search for repositories and developers, 30 a page, the first 1,000 results."""

from typing import TypeVar

from aiohttp import web

from github_client.credentials import credential_in
from github_client.models import SearchResult
from github_client.resource import Answer
from github_client.rest import search_developers as search_github_developers
from github_client.rest import search_repositories as search_github_repositories
from github_client.service import GITHUB
from search_service.parameters import DEVELOPER_SORTS, REPOSITORY_SORTS, order_parameters, search_parameters
from service_kit.answers import Meta, envelope
from service_kit.query import Query

T = TypeVar("T")


async def search_repositories(request: web.Request) -> web.Response:
    """Repositories for `q`, by `sort` and `order`."""
    query = Query(request.rel_url.raw_query_string)
    parameters = search_parameters(query, "q") | order_parameters(query, REPOSITORY_SORTS)
    caller = credential_in(request.headers.get("Authorization"))
    answer = await search_github_repositories(request.app[GITHUB], parameters, caller)
    return _page(request, answer, int(parameters["page"]))


async def search_developers(request: web.Request) -> web.Response:
    """Users and organisations for `q`, by `sort` and `order`."""
    query = Query(request.rel_url.raw_query_string)
    parameters = search_parameters(query, "q") | order_parameters(query, DEVELOPER_SORTS)
    caller = credential_in(request.headers.get("Authorization"))
    answer = await search_github_developers(request.app[GITHUB], parameters, caller)
    return _page(request, answer, int(parameters["page"]))


def _page(request: web.Request, answer: Answer[SearchResult[T]], page: int) -> web.Response:
    result = answer.value
    meta = Meta(
        page=page,
        next_page=answer.next_page,
        total_count=result.total_count,
        incomplete_results=result.incomplete_results,
    )
    return envelope(request, result.items, meta, answer.freshness, last_page=answer.last_known_page)

"""Handlers of `/v1/trending/repositories`: a page's rows, and a repository's history on a page."""

from datetime import datetime

import msgspec
from aiohttp import web

from github_client import lifetimes
from github_client.parameters import repository_in_path
from github_client.service import CATALOGUE, TRENDING
from github_client.trending.listing import answer_list
from github_client.trending.page_key import read_page_key
from github_client.trending.stored import ItemDay
from service_kit.answers import Freshness, Meta, envelope
from service_kit.errors import NotFound, UnprocessableParameter
from service_kit.query import Query

LAST_PAGE = 1000
"""30 days each: more than there will be."""


class RepositoryHistory(msgspec.Struct, frozen=True):
    """How a repository stands on a page, and a page of its days there: newest first, none for a day it was not seen."""

    rank: int | None
    """Its place now; null when it is not on the page, and then `rank_change` is null and `streak_days` 0."""
    first_seen: datetime
    streak_days: int
    best_rank: int
    rank_change: int | None
    is_new: bool
    days: list[ItemDay]


async def list_trending_repositories(request: web.Request) -> web.Response:
    """The rows of one trending page, best first."""
    return await answer_list(request, "repositories")


async def get_history(request: web.Request) -> web.Response:
    """A repository's days on the page that the parameters of the list name; raises NotFound if it never was there."""
    owner, name = repository_in_path(request)
    query = Query(request.rel_url.raw_query_string)
    key = read_page_key("repositories", query, request.app[CATALOGUE])
    page = query.page(most=LAST_PAGE)
    history = await request.app[TRENDING].store.history(key, f"{owner}/{name}", page)
    if history is None:
        raise NotFound("This repository was never seen on this trending page.")
    if page > 1 and not history.days:
        raise UnprocessableParameter("page", "lies beyond the last page.")
    standing = history.standing
    data = RepositoryHistory(
        rank=history.rank,
        first_seen=standing.first_seen,
        streak_days=standing.streak_days,
        best_rank=standing.best_rank,
        rank_change=standing.rank_change,
        is_new=standing.is_new,
        days=history.days,
    )
    freshness = Freshness(
        lifetimes.TRENDING_HISTORY,
        history.as_of,
        if_error_seconds=lifetimes.STALE_IF_ERROR_SECONDS,
        is_copy=True,
    )
    return envelope(request, data, Meta(page=page, next_page=history.next_page), freshness)

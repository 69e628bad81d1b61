"""Handlers of the original paths: what the first mini-program reads, field by field, bare and without an envelope."""

import msgspec
from aiohttp import web

from github_client import lifetimes
from github_client.models import Repository
from github_client.parameters import repository_in_query
from github_client.rest import MARKDOWN, fetch_repository_and_readme, freshness_of_both, is_missing
from github_client.service import CATALOGUE, GITHUB, TRENDING
from github_client.trending.page_key import read_page_key
from github_client.trending.parser import TrendingRepository
from service_kit.answers import Freshness, json_answer
from service_kit.errors import ServiceError
from service_kit.query import Query

_decode_rows = msgspec.json.Decoder(list[TrendingRepository]).decode


class OriginalTrendingRepository(msgspec.Struct, omit_defaults=True):
    """A trending row; a count that GitHub's page does not tell is left out (the client hides it then)."""

    author: str
    name: str
    description: str | None
    language: str | None
    stars: int | msgspec.UnsetType = msgspec.UNSET
    forks: int | msgspec.UnsetType = msgspec.UNSET
    current_period_stars: int | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="currentPeriodStars")


class OriginalOwner(msgspec.Struct):
    """The only part of a repository's owner that the client reads."""

    login: str


class OriginalRepository(msgspec.Struct, omit_defaults=True):
    """A repository with its README as raw Markdown; `readme` is null where there is none or it cannot be had now.

    In the latter case `missing` names it; the client does not read that, whoever looks for the reason does.
    """

    owner: OriginalOwner
    name: str
    description: str | None
    stargazers_count: int
    forks: int
    open_issues: int
    readme: str | None
    subscribers_count: int | msgspec.UnsetType = msgspec.UNSET
    missing: tuple[str, ...] = ()


async def list_trending_repositories(request: web.Request) -> web.Response:
    """`GET /trending-repositories?since=&language=`: a bare list, best first."""
    key = read_page_key(
        "repositories", Query(request.rel_url.raw_query_string, plus_is_space=False), request.app[CATALOGUE]
    )
    answer = await request.app[TRENDING].latest(key)
    rows = [trending_row(row) for row in _decode_rows(answer.rows)]
    return json_answer(request, rows, answer.freshness)


async def list_trending_languages(request: web.Request) -> web.Response:
    """`GET /trending-languages`: names that survive the client's missing escaping. Everything of it waits for this."""
    names = request.app[CATALOGUE].for_original_client()
    return json_answer(request, names, Freshness(lifetimes.LANGUAGES))


async def get_repository(request: web.Request) -> web.Response:
    """`GET /repositories?owner=&name=`: a repository and its README."""
    owner, name = repository_in_query(Query(request.rel_url.raw_query_string, plus_is_space=False))
    answer, readme = await fetch_repository_and_readme(request.app[GITHUB], owner, name, MARKDOWN, None)
    text = None if isinstance(readme, ServiceError) else readme.value
    missing = ("readme",) if is_missing(readme) else ()
    return json_answer(request, repository(answer.value, text, missing), freshness_of_both(answer, readme))


def trending_row(row: TrendingRepository) -> OriginalTrendingRepository:
    """A parsed row in the client's words."""
    return OriginalTrendingRepository(
        author=row.owner,
        name=row.name,
        description=row.description,
        language=row.language,
        stars=_known(row.stars),
        forks=_known(row.forks),
        current_period_stars=_known(row.period_stars),
    )


def repository(found: Repository, readme: str | None, missing: tuple[str, ...]) -> OriginalRepository:
    """GitHub's repository in the client's words."""
    return OriginalRepository(
        owner=OriginalOwner(found.owner.login),
        name=found.name,
        description=found.description,
        stargazers_count=found.stargazers_count,
        forks=found.forks_count,
        open_issues=found.open_issues_count,
        readme=readme,
        subscribers_count=_known(found.subscribers_count),
        missing=missing,
    )


def _known(count: int | None) -> int | msgspec.UnsetType:
    return msgspec.UNSET if count is None else count

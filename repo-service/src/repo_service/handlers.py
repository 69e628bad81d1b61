"""Handlers of `/v1`: the languages of trending pages, one repository, its README."""

import msgspec
from aiohttp import web

from github_client import lifetimes
from github_client.credentials import Credential, credential_in
from github_client.parameters import repository_in_path
from github_client.rest import (
    HTML,
    MARKDOWN,
    fetch_repository,
    fetch_repository_and_readme,
    freshness_of_both,
    is_missing,
)
from github_client.service import CATALOGUE, GITHUB
from repo_service.readme_html import sanitise
from service_kit.answers import Freshness, Meta, envelope
from service_kit.errors import ServiceError
from service_kit.query import Query


class Readme(msgspec.Struct, frozen=True):
    """A README; `content` is Markdown as written, or sanitised HTML as GitHub renders it."""

    format: str
    content: str


async def list_trending_languages(request: web.Request) -> web.Response:
    """Every language of the trending page's menu: name, slug, colour (`#rrggbb`, null if it has none)."""
    languages = request.app[CATALOGUE].all()
    return envelope(request, languages, Meta(), Freshness(lifetimes.LANGUAGES))


async def get_repository(request: web.Request) -> web.Response:
    """One repository; a renamed one under its new name. With `include=readme` its README stands in `readme`."""
    owner, name = repository_in_path(request)
    caller = credential_in(request.headers.get("Authorization"))
    if Query(request.rel_url.raw_query_string).choice("include", ("", "readme"), "") == "readme":
        return await _get_repository_and_readme(request, owner, name, caller)
    answer = await fetch_repository(request.app[GITHUB], owner, name, caller)
    return envelope(request, answer.body, Meta(), answer.freshness)


async def _get_repository_and_readme(
    request: web.Request, owner: str, name: str, caller: Credential | None
) -> web.Response:
    answer, readme = await fetch_repository_and_readme(request.app[GITHUB], owner, name, MARKDOWN, caller)
    content = None if isinstance(readme, ServiceError) else Readme("markdown", readme.value)
    data = b'%b,"readme":%b}' % (answer.body[:-1], msgspec.json.encode(content))
    meta = Meta(missing=("readme",)) if is_missing(readme) else Meta()
    return envelope(request, data, meta, freshness_of_both(answer, readme))


async def get_readme(request: web.Request) -> web.Response:
    """A repository's README as Markdown, or as HTML with `format=html` or `Accept: text/html`."""
    owner, name = repository_in_path(request)
    asked = "html" if "text/html" in request.headers.get("Accept", "") else "markdown"
    wanted = Query(request.rel_url.raw_query_string).choice("format", ("markdown", "html"), asked)
    caller = credential_in(request.headers.get("Authorization"))
    media_type, prepare = (HTML, sanitise) if wanted == "html" else (MARKDOWN, str)
    _, readme = await fetch_repository_and_readme(request.app[GITHUB], owner, name, media_type, caller, prepare)
    if isinstance(readme, ServiceError):
        raise readme
    return envelope(request, Readme(wanted, readme.value), Meta(), readme.freshness, headers={"Vary": "Accept"})

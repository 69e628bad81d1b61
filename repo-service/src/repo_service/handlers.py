"""Handlers of `/v1`: trending repositories, languages, one repository, its README."""

import asyncio

import msgspec
from aiohttp import web

from github_client import lifetimes
from github_client.credentials import credential_in
from github_client.parameters import repository_in_path
from github_client.rest import HTML, MARKDOWN, fetch_repository, fetch_repository_and_readme
from github_client.service import CATALOGUE, GITHUB, TRENDING
from github_client.trending.page_key import read_page_key
from github_client.trending.parser import parse_repositories
from repo_service.readme_html import sanitise
from service_kit.answers import Meta, envelope
from service_kit.errors import ServiceError
from service_kit.query import Query


class Readme(msgspec.Struct, frozen=True):
    """A README; `content` is Markdown as written, or sanitised HTML as GitHub renders it."""

    format: str
    content: str


async def list_trending_repositories(request: web.Request) -> web.Response:
    """The rows of one trending page, best first."""
    key = read_page_key("repositories", Query(request.rel_url.raw_query_string), request.app[CATALOGUE])
    answer = await request.app[TRENDING].fetch(key, parse_repositories)
    meta = Meta(as_of=answer.as_of, stale=False)
    return envelope(request, answer.value.rows, meta, lifetime_seconds=lifetimes.TRENDING)


async def list_trending_languages(request: web.Request) -> web.Response:
    """Every language of the trending page's menu: name, slug, colour (`#rrggbb`, null if it has none)."""
    languages = request.app[CATALOGUE].all()
    return envelope(request, languages, Meta(), lifetime_seconds=lifetimes.LANGUAGES)


async def get_repository(request: web.Request) -> web.Response:
    """One repository; a renamed one under its new name."""
    owner, name = repository_in_path(request)
    caller = credential_in(request.headers.get("Authorization"))
    answer = await fetch_repository(request.app[GITHUB], owner, name, caller)
    lifetime = None if answer.personal else lifetimes.REPOSITORY
    meta = Meta(as_of=answer.as_of, stale=False)
    return envelope(request, answer.value, meta, lifetime_seconds=lifetime)


async def get_readme(request: web.Request) -> web.Response:
    """A repository's README as Markdown, or as HTML with `format=html` or `Accept: text/html`."""
    owner, name = repository_in_path(request)
    asked = "html" if "text/html" in request.headers.get("Accept", "") else "markdown"
    wanted = Query(request.rel_url.raw_query_string).choice("format", ("markdown", "html"), asked)
    caller = credential_in(request.headers.get("Authorization"))
    media_type = HTML if wanted == "html" else MARKDOWN
    _, readme = await fetch_repository_and_readme(request.app[GITHUB], owner, name, media_type, caller)
    if isinstance(readme, ServiceError):
        raise readme
    content = await asyncio.to_thread(sanitise, readme.value) if wanted == "html" else readme.value
    lifetime = None if readme.personal else lifetimes.README
    meta = Meta(as_of=readme.as_of, stale=False)
    headers = {"Vary": "Accept"}
    return envelope(request, Readme(wanted, content), meta, lifetime_seconds=lifetime, headers=headers)

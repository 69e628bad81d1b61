"""Handlers of `/v1`: one developer, events, and who the caller is."""

from aiohttp import web

from github_client.credentials import credential_in
from github_client.parameters import login
from github_client.rest import LAST_EVENTS_PAGE, fetch_caller, fetch_developer, fetch_events
from github_client.service import GITHUB
from service_kit.answers import Meta, envelope
from service_kit.errors import Unauthorized
from service_kit.query import Query


async def get_developer(request: web.Request) -> web.Response:
    """One user or organisation."""
    name = login("login", request.match_info["login"])
    caller = credential_in(request.headers.get("Authorization"))
    answer = await fetch_developer(request.app[GITHUB], name, caller)
    return envelope(request, answer.body, Meta(), answer.freshness)


async def get_me(request: web.Request) -> web.Response:
    """The developer whose token the caller sends."""
    caller = credential_in(request.headers.get("Authorization"))
    if caller is None:
        raise Unauthorized("This needs your GitHub token: Authorization: Bearer TOKEN.")
    answer = await fetch_caller(request.app[GITHUB], caller)
    return envelope(request, answer.body, Meta(), answer.freshness)


async def list_events(request: web.Request) -> web.Response:
    """What a developer did, newest first."""
    return await _list_events(request, "events/public")


async def list_received_events(request: web.Request) -> web.Response:
    """What those did whom a developer follows and watches, newest first."""
    return await _list_events(request, "received_events")


async def _list_events(request: web.Request, kind: str) -> web.Response:
    name = login("login", request.match_info["login"])
    page = Query(request.rel_url.raw_query_string).page(most=LAST_EVENTS_PAGE)
    caller = credential_in(request.headers.get("Authorization"))
    answer = await fetch_events(request.app[GITHUB], name, kind, page, caller)
    return envelope(request, answer.body, Meta(page=page, next_page=answer.next_page), answer.freshness)

"""api.github.com: each endpoint as a function from a view of the world and a request to an answer."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from aiohttp import web

from local.imitation_github import deeds, events, readme, releases, search
from local.imitation_github.admission import Moved, answered
from local.imitation_github.answers import (
    API_VERSIONS,
    Answer,
    Refused,
    link_header,
    not_found,
    page_number,
    page_of,
    validation_failed,
)
from local.imitation_github.credentials import Caller
from local.imitation_github.limits import WINDOW_SECONDS
from local.imitation_github.objects import (
    View,
    account_full,
    account_private,
    account_summary,
    account_updated_at,
    repository_full,
    repository_summary,
)
from local.imitation_github.pulse import pushed_at, updated_at
from local.imitation_github.state import PAGE_FAULT, STATE
from local.imitation_github.world import Account, Repository

PER_PAGE, PER_PAGE_LIMIT = 30, 100
POLL_INTERVAL_SECONDS = 60
T = TypeVar("T")


def add_routes(app: web.Application) -> None:
    """Every endpoint; what is none of them is GitHub's 404, whatever the method."""
    for path, endpoint in (
        ("/repos/{owner}/{name}", get_repository),
        ("/repositories/{id}", get_repository),
        ("/repos/{owner}/{name}/readme", get_readme),
        ("/repositories/{id}/readme", get_readme),
        ("/repos/{owner}/{name}/releases", list_releases),
        ("/repositories/{id}/releases", list_releases),
        ("/user", get_caller),
        ("/users/{login}", get_account),
    ):
        app.router.add_get(path, answered(endpoint))
    for prefix in ("/users/{login}", "/user/{id}"):
        for kind in ("events", "events/public", "received_events", "received_events/public"):
            app.router.add_get(f"{prefix}/{kind}", answered(list_events))
    app.router.add_get("/search/repositories", answered(search_repositories, "search"))
    app.router.add_get("/search/users", answered(search_users, "search"))
    app.router.add_get("/rate_limit", answered(get_rate_limit, None))
    app.router.add_route("*", "/{path:.*}", answered(_nothing))


def get_repository(view: View, request: web.Request) -> Answer:
    """One repository."""
    repository = _repository(view, request)
    changed = updated_at(repository, view.now)
    return Answer(repository_full(view, repository), last_modified=changed, accepted_scopes="repo")


def get_readme(view: View, request: web.Request) -> Answer:
    """The README: JSON, or raw or rendered by `Accept`."""
    repository = _repository(view, request, "/readme")
    found = readme.readme_of(repository)
    if found is None:
        raise not_found("/repos/contents#get-a-repository-readme")
    wanted = re.search(r"application/vnd\.github(?:\.v3)?\.(raw|html)\b", request.headers.get("Accept", ""))
    body: object
    match wanted and wanted[1]:
        case "raw":
            media_type, body = "application/vnd.github.raw+json", found.text.encode()
        case "html":
            media_type, body = "application/vnd.github.html+json", readme.as_html(found).encode()
        case _:
            media_type, body = "application/json", readme.as_json(view, repository, found)
    changed = pushed_at(repository, view.now)
    return Answer(body, media_type=media_type, last_modified=changed, accepted_scopes="repo")


def list_releases(view: View, request: web.Request) -> Answer:
    """Releases, newest first."""
    repository = _repository(view, request, "/releases")
    return _listed(
        request,
        request.app[STATE].releases.of(view, repository),
        lambda entry: releases.as_json(view, repository, *entry),
        f"{view.base}/repositories/{repository.id}/releases",
        accepted_scopes="repo",
    )


def get_account(view: View, request: web.Request) -> Answer:
    """A user or an organisation."""
    account = _account(view, request)
    return Answer(account_full(view, account), last_modified=account_updated_at(view, account))


def get_caller(view: View, _request: web.Request) -> Answer:
    """Whose token it is."""
    account = view.world.account(view.caller.login or "")
    if account is None:
        raise Refused(401, "Requires authentication", "/users/users#get-the-authenticated-user")
    shape = account_private if "user" in (view.caller.scopes or ()) else account_full
    return Answer(shape(view, account), last_modified=account_updated_at(view, account))


def list_events(view: View, request: web.Request) -> Answer:
    """What somebody did, or what they received. `received_events` does not tell its last page."""
    account = _account(view, request)
    kind = "/".join(request.path.split("/")[3:])
    seen = replace(view, caller=Caller("public")) if kind.endswith("/public") else view
    done = (deeds.received_by if kind.startswith("received") else deeds.done_by)(seen, account)
    return _listed(
        request,
        done,
        lambda deed: events.event(seen, deed),
        f"{view.base}/user/{account.id}/{kind}",
        headers={"X-Poll-Interval": str(POLL_INTERVAL_SECONDS)},
        last_modified=done[0].at if done else None,
        tells_last=not kind.startswith("received"),
    )


def search_repositories(view: View, request: web.Request) -> Answer:
    """Repositories that fit `q`."""

    def find(query: search.Query) -> Sequence[Repository]:
        return search.find_repositories(view, query, request.query.get("sort"), request.query.get("order", "desc"))

    return _searched(view, request, find, lambda one: repository_summary(view, one))


def search_users(view: View, request: web.Request) -> Answer:
    """Users and organisations that fit `q`."""

    def find(query: search.Query) -> Sequence[Account]:
        return search.find_accounts(view, query, request.query.get("sort"), request.query.get("order", "desc"))

    return _searched(view, request, find, lambda one: account_summary(view, one))


def get_rate_limit(view: View, request: web.Request) -> Answer:
    """The state of every bucket; the key `rate` is gone since version 2026-03-10."""
    limits = request.app[STATE].limits
    resources = {}
    for bucket in WINDOW_SECONDS:
        usage = limits.look(
            view.caller.identity, bucket, has_credential=view.caller.has_credential, now_seconds=view.now.timestamp()
        )
        resources[bucket] = {
            "limit": usage.limit,
            "used": usage.used,
            "remaining": usage.remaining,
            "reset": usage.reset,
        }
    body: dict[str, Any] = {"resources": resources}
    if request.headers.get("X-GitHub-Api-Version") != API_VERSIONS[1]:
        body["rate"] = resources["core"]
    return Answer(body, is_revalidated=False)


def _nothing(_view: View, _request: web.Request) -> Answer:
    raise not_found()


def _repository(view: View, request: web.Request, rest: str = "") -> Repository:
    names = request.match_info
    if "id" in names:
        found = view.world.repository_with_id(int(names["id"])) if names["id"].isdecimal() else None
    else:
        found = view.world.repository(names["owner"], names["name"])
        former = view.world.renamed(names["owner"], names["name"])
        if found is None and former is not None and view.may_see(former):
            raise Moved(former, rest)
    if found is None or not view.may_see(found):
        raise not_found("/repos/repos#get-a-repository")
    return found


def _account(view: View, request: web.Request) -> Account:
    names = request.match_info
    if "id" in names:
        found = view.world.account_with_id(int(names["id"])) if names["id"].isdecimal() else None
    else:
        found = view.world.account(names["login"])
    if found is None:
        raise not_found("/users/users#get-a-user")
    return found


def _listed(
    request: web.Request,
    items: Sequence[T],
    shape: Callable[[T], Any],
    url: str,
    *,
    tells_last: bool = True,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Answer:
    page, per_page = page_number(request, "page", 1, 10**6), page_number(request, "per_page", PER_PAGE, PER_PAGE_LIMIT)
    last = max(1, -(-len(items) // per_page))
    links = link_header(request, url, page, last, tells_last=tells_last)
    body = [shape(item) for item in page_of(items, page, per_page)]
    return Answer(body, headers={**links, **(headers or {})}, **more)


def _searched(
    view: View,
    request: web.Request,
    find: Callable[[search.Query], Sequence[T]],
    shape: Callable[[T], dict[str, Any]],
) -> Answer:
    text = request.query.get("q", "")
    if not text.strip():
        raise validation_failed("q", "missing")
    page, per_page = page_number(request, "page", 1, 10**6), page_number(request, "per_page", PER_PAGE, PER_PAGE_LIMIT)
    if (page - 1) * per_page >= search.RESULT_LIMIT:
        refused = Refused(422, "Only the first 1000 search results are available")
        refused.body["documentation_url"] = "https://docs.github.com/v3/search/"
        raise refused
    try:
        items = find(search.parse(text))
    except search.Invalid as invalid:
        raise validation_failed("q", "invalid", str(invalid)) from None
    last = max(1, -(-min(len(items), search.RESULT_LIMIT) // per_page))
    body = {
        "total_count": len(items),
        "incomplete_results": request.get(PAGE_FAULT) == "incomplete_results",
        "items": [{**shape(item), "score": 1.0} for item in page_of(items, page, per_page)],
    }
    headers = link_header(request, view.base + request.path, page, last)
    return Answer(body, headers=headers, is_revalidated=False)

"""What every API request passes: User-Agent, version, credential, budget; and how its endpoint's answer comes back."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from local.imitation_github.answers import (
    API_VERSIONS,
    RETIRED_API_VERSIONS,
    Answer,
    Refused,
    refuse,
    respond,
    standard_headers,
)
from local.imitation_github.credentials import BadCredentials, Caller, caller_of
from local.imitation_github.limits import Bucket, Usage
from local.imitation_github.objects import View
from local.imitation_github.state import ENTRY, STATE, base_url
from local.imitation_github.world import Repository

Endpoint = Callable[[View, web.Request], Answer]


class Moved(Exception):
    """The repository has another name now."""

    def __init__(self, repository: Repository, rest: str) -> None:
        self.path = f"/repositories/{repository.id}{rest}"


def answered(endpoint: Endpoint, bucket: Bucket | None = "core") -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler of an endpoint: checks and counts each request before, tells the limits after. No bucket: free."""

    async def handle(request: web.Request) -> web.Response:
        state = request.app[STATE]
        now = state.clock()
        caller = Caller(f"anonymous:{request.remote}")
        refused = _refused_before_all(request)
        if refused is None:
            try:
                caller = caller_of(request.headers, request.remote)
            except BadCredentials:
                refused = refuse(Refused(401, "Bad credentials"))
                request[ENTRY]["identity"] = "bad credentials"
            else:
                request[ENTRY]["identity"] = caller.logged

        def usage_of(counted: Bucket, *, looked: bool = False) -> Usage:
            measure = state.limits.look if looked else state.limits.count
            return measure(caller.identity, counted, has_credential=caller.has_credential, now_seconds=now.timestamp())

        usage = usage_of(bucket or "core", looked=bucket is None)
        if refused is not None:
            response = refused
        elif usage.is_exceeded:
            response = refuse(_exceeded(caller, request), caller)
        else:
            view = View(state.world, base_url(request), now, caller)
            response = _response(endpoint, view, request)
            if response.status == 304:
                usage = state.limits.give_back(caller.identity, usage)
        response.headers.update(usage.headers())
        return response

    return handle


def _response(endpoint: Endpoint, view: View, request: web.Request) -> web.Response:
    try:
        return respond(request, endpoint(view, request), view.caller)
    except Moved as moved:
        location = view.base + moved.path
        docs = "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects"
        body = {"message": "Moved Permanently", "url": location, "documentation_url": docs}
        answer = Answer(body, status=301, headers={"Location": location})
        return respond(request, answer, view.caller)
    except Refused as refused:
        return refuse(refused, view.caller)


def _refused_before_all(request: web.Request) -> web.Response | None:
    if not request.headers.get("User-Agent"):
        text = (
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"
            " (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required)."
        )
        return web.Response(status=403, headers=standard_headers("text/html"), body=f"\r\n{text}\r\n".encode())
    version = request.headers.get("X-GitHub-Api-Version", API_VERSIONS[0])
    if version in RETIRED_API_VERSIONS:
        return refuse(
            Refused(410, f"API version '{version}' is no longer supported.", "/about-the-rest-api/api-versions")
        )
    if version not in API_VERSIONS:
        return refuse(Refused(400, f"'{version}' is not a supported API version.", "/about-the-rest-api/api-versions"))
    return None


def _exceeded(caller: Caller, request: web.Request) -> Refused:
    whom = f"user {caller.login}" if caller.login else "this app" if caller.has_credential else request.remote
    advice = (
        " If you reach out to GitHub Support for help, please include the request ID."
        if caller.has_credential
        else " (But here's the good news: Authenticated requests get a higher rate limit. Check out the documentation"
        " for more details.)"
    )
    return Refused(
        403, f"API rate limit exceeded for {whom}.{advice}", "/using-the-rest-api/rate-limits-for-the-rest-api"
    )

"""CORS: a page from any origin may read every answer; nothing here depends on cookies."""

from aiohttp import web

_ON_EVERY_ANSWER = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Max-Page, Link, ETag, Cache-Status, X-Request-Id, Retry-After",
}
# By name: "*" does not cover Authorization (Fetch standard, "CORS-non-wildcard request-header name").
_ALLOWED_HEADERS = "authorization, accept, content-type, if-none-match, x-request-id"
_PREFLIGHT_LIFETIME_SECONDS = 86_400


async def open_to_all_origins(_request: web.Request, response: web.StreamResponse) -> None:
    """A signal before each answer's head is written, so that errors and streams carry the headers too."""
    response.headers.update(_ON_EVERY_ANSWER)


async def answer_preflight(request: web.Request) -> web.Response:
    """What the route table allows on this path."""
    methods = ", ".join(sorted(route.method for route in request.match_info.route.resource or ()))
    return web.Response(
        status=204,
        headers={
            "Allow": methods,
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(_PREFLIGHT_LIFETIME_SECONDS),
        },
    )

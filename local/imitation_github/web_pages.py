"""github.com as far as it is needed: the trending pages, and avatars."""

from datetime import timedelta
from typing import get_args

from aiohttp import web

from local.imitation_github import avatars, languages
from local.imitation_github.frame import Asked
from local.imitation_github.pulse import Since
from local.imitation_github.state import PAGE_FAULT, STATE, base_url
from local.imitation_github.trending_page import page

AVATARS_HOLD = timedelta(minutes=5)


def add_routes(app: web.Application) -> None:
    """The trending pages under their own paths, avatars under `/avatars/u/ID` (people) and `/avatars/in/ID` (bots)."""
    for section in ("/developers", ""):
        app.router.add_get(f"/trending{section}", _get_trending)
        app.router.add_get(f"/trending{section}/{{slug}}", _get_trending)
    app.router.add_get(r"/avatars/{kind:u|in}/{id:\d{1,12}}", _get_avatar)


async def _get_trending(request: web.Request) -> web.Response:
    """A period that is unknown is taken for `daily`, as GitHub does; a language that is unknown has nothing."""
    state = request.app[STATE]
    section = "/developers" if request.path.startswith("/trending/developers") else ""
    slug = request.match_info.get("slug")
    name = languages.named(slug) if slug else None
    since: Since = next((each for each in get_args(Since) if each == request.query.get("since")), "daily")
    asked = Asked(
        section=section,
        since=since,
        slug=slug,
        language="" if name == languages.UNKNOWN else name,
        spoken=None if section else request.query.get("spoken_language_code") or None,
    )
    html = page(state.world, asked, base_url(request), state.clock(), request.get(PAGE_FAULT))
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "max-age=0, private, must-revalidate",
        "Vary": "X-PJAX, X-PJAX-Container, Turbo-Visit, Turbo-Frame, Accept-Encoding, Accept, X-Requested-With",
        "Server": "github.com",
        "X-Frame-Options": "deny",
    }
    response = web.Response(body=html.encode(), headers=headers)
    response.enable_compression()
    return response


async def _get_avatar(request: web.Request) -> web.Response:
    size = request.query.get("s", "")
    pixels = int(size) if size.isascii() and size.isdigit() and len(size) < 5 else avatars.MOST_PIXELS
    picture = avatars.png(request.match_info["kind"], int(request.match_info["id"]), pixels)
    headers = {"Cache-Control": f"max-age={int(AVATARS_HOLD.total_seconds())}", "Access-Control-Allow-Origin": "*"}
    return web.Response(body=picture, content_type="image/png", headers=headers)

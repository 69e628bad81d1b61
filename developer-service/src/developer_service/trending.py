"""The handler of `/v1/trending/developers`."""

from aiohttp import web

from github_client.trending.listing import answer_list


async def list_trending_developers(request: web.Request) -> web.Response:
    """The rows of one trending page, best first."""
    return await answer_list(request, "developers")

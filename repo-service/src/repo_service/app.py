"""The service's application: its settings and its routes."""

from aiohttp import web

from github_client.service import DataServiceSettings, create_data_app
from repo_service import handlers, original, trending
from repo_service.release_watch.assembly import release_watch
from service_kit.settings import Port


class Settings(DataServiceSettings):
    """What repo-service reads."""

    port: Port = 8081


def make_app(settings: Settings) -> web.Application:
    """The application, ready to run."""
    app = create_data_app("repo-service", settings, has_trending_pages=True)
    app.cleanup_ctx.append(release_watch)
    app.add_routes(
        [
            web.get("/trending-repositories", original.list_trending_repositories),
            web.get("/trending-languages", original.list_trending_languages),
            web.get("/repositories", original.get_repository),
            web.get("/v1/trending/repositories", trending.list_trending_repositories),
            web.get("/v1/trending/repositories/{owner}/{name}/history", trending.get_history),
            web.get("/v1/trending/languages", handlers.list_trending_languages),
            web.get("/v1/repositories/{owner}/{name}", handlers.get_repository),
            web.get("/v1/repositories/{owner}/{name}/readme", handlers.get_readme),
        ]
    )
    return app

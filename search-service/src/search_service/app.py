"""The service's application: its settings and its routes."""

from aiohttp import web

from github_client.service import DataServiceSettings, create_data_app
from search_service import handlers, original
from service_kit.settings import Port


class Settings(DataServiceSettings):
    """What search-service reads."""

    port: Port = 8083


def make_app(settings: Settings) -> web.Application:
    """The application, ready to run."""
    app = create_data_app("search-service", settings)
    app.add_routes(
        [
            web.get("/search/repositories", original.search_repositories),
            web.get("/v1/search/repositories", handlers.search_repositories),
            web.get("/v1/search/developers", handlers.search_developers),
        ]
    )
    return app

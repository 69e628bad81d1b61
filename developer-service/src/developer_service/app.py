"""The service's application: its settings and its routes."""

from aiohttp import web

from developer_service import handlers, original, trending
from github_client.service import DataServiceSettings, create_data_app
from service_kit.settings import Port


class Settings(DataServiceSettings):
    """What developer-service reads."""

    port: Port = 8082


def make_app(settings: Settings) -> web.Application:
    """The application, ready to run."""
    app = create_data_app("developer-service", settings, has_trending_pages=True)
    app.add_routes(
        [
            web.get("/trending-developers", original.list_trending_developers),
            web.get("/developers", original.get_developer),
            web.get("/developers/{login}/events", original.list_received_events),
            web.get("/v1/trending/developers", trending.list_trending_developers),
            web.get("/v1/developers/{login}", handlers.get_developer),
            web.get("/v1/developers/{login}/events", handlers.list_events),
            web.get("/v1/developers/{login}/received-events", handlers.list_received_events),
            web.get("/v1/me", handlers.get_me),
        ]
    )
    return app

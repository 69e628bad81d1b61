"""Run the service: python -m search_service."""

from search_service.app import Settings, make_app
from service_kit.server import run

if __name__ == "__main__":
    run("search-service", Settings, make_app)

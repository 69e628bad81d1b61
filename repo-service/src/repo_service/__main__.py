"""Run the service: python -m repo_service."""

from repo_service.app import Settings, make_app
from service_kit.server import run

if __name__ == "__main__":
    run("repo-service", Settings, make_app)

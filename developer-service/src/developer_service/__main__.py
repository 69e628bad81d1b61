"""Run the service: python -m developer_service."""

from developer_service.app import Settings, make_app
from service_kit.server import run

if __name__ == "__main__":
    run("developer-service", Settings, make_app)

"""Run the gateway: python -m gateway."""

from gateway.app import Settings, make_app
from service_kit.server import run

if __name__ == "__main__":
    run("gateway", Settings, make_app)

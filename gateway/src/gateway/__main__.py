"""Run the gateway: python -m gateway."""

from gateway.app import Settings, serving
from service_kit.server import run_server

if __name__ == "__main__":
    run_server("gateway", Settings, serving)

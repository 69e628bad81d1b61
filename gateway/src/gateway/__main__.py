"""Run the gateway: python -m gateway."""

from contextlib import AbstractAsyncContextManager

from gateway.app import Settings, serving_to_the_end
from gateway.workers import serving_by_workers
from service_kit.server import run_server


def _serving(settings: Settings) -> AbstractAsyncContextManager[None]:
    return serving_by_workers(settings) if settings.gateway_workers > 1 else serving_to_the_end(settings)


if __name__ == "__main__":
    run_server("gateway", Settings, _serving)

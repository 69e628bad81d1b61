"""A server that answers one file's bytes to everybody who asks for a repository: `python -m benchmarks.bare`.

It stands beside the service in the benchmark `hit`: as bare as aiohttp can be (`--plain`), or within all that every
service of ours has around its handlers.
"""

import argparse
from functools import cache
from pathlib import Path

import uvloop
from aiohttp import web

from service_kit.app import create_app
from service_kit.server import run
from service_kit.settings import Port, ServiceSettings

ROUTE = "/v1/repositories/{owner}/{name}"


class Settings(ServiceSettings):
    """What the server within our application reads."""

    port: Port = 8089


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bare")
    parser.add_argument("--plain", type=int, metavar="PORT", help="no middlewares, no log; else as our services are")
    parser.add_argument("body", type=Path, help="the file, read at the first request")
    arguments = parser.parse_args()

    @cache
    def body() -> bytes:
        read: bytes = arguments.body.read_bytes()
        return read

    async def get_repository(_request: web.Request) -> web.Response:
        return web.Response(body=body(), content_type="application/json")

    if arguments.plain is None:
        app = create_app()
        app.router.add_get(ROUTE, get_repository)
        run("bare", Settings, lambda _settings: app)
        return
    plain = web.Application()
    plain.router.add_get(ROUTE, get_repository)
    web.run_app(
        plain, host="127.0.0.1", port=arguments.plain, access_log=None, print=None, loop=uvloop.new_event_loop()
    )


if __name__ == "__main__":
    main()

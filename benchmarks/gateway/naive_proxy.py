"""A proxy as one writes it first with aiohttp: read the answer, give it back. `… naive_proxy PORT UPSTREAM_URL`."""

import argparse
from collections.abc import AsyncIterator

import uvloop
from aiohttp import ClientSession, web

SESSION = web.AppKey("session", ClientSession)


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway.naive_proxy")
    parser.add_argument("port", type=int)
    parser.add_argument("upstream")
    arguments = parser.parse_args()

    async def session(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession() as app[SESSION]:
            yield

    async def pass_on(request: web.Request) -> web.Response:
        url = f"{arguments.upstream}{request.rel_url}"
        async with request.app[SESSION].request(request.method, url, headers=request.headers) as answer:
            return web.Response(body=await answer.read(), status=answer.status, headers=answer.headers)

    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_get("/{tail:.*}", pass_on)
    web.run_app(app, host="127.0.0.1", port=arguments.port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()

"""The process: settings, logging, event loop, socket, signals; and the answer to bytes that are no request."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import structlog
import uvloop
from aiohttp import http_parser, web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from service_kit.app import SERVER
from service_kit.errors import MalformedRequest, problem_response
from service_kit.logging import configure_logging
from service_kit.request_id import HEADER, begin_request
from service_kit.settings import ServiceSettings, SettingsT, load_settings

SHUTDOWN_GRACE_SECONDS = 20.0
"""How long requests under way may go on after SIGTERM; above the longest deadline of a GitHub call (12 s)."""
KEEPALIVE_SECONDS = 75.0
_MALFORMED = "This is not a well-formed HTTP request, or its line or headers are too long."
CONNECTION_OPTIONS: dict[str, Any] = {
    "access_log": None,
    "handler_cancellation": True,
    "auto_decompress": False,
    "keepalive_timeout": KEEPALIVE_SECONDS,
}
log = structlog.get_logger()


class RefusingRequestHandler(RequestHandler):
    """Answers what aiohttp's parser refuses with nothing of its bytes: they may hold a token."""

    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the request
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            # Part of an answer is out: aiohttp's way to have the connection closed without logging the request.
            raise ConnectionError("answer cut short")
        request_id = begin_request(None)
        if 400 <= status < 500:
            log.info("request.refused", peer=request.remote, error=type(exc).__name__)
            response = problem_response(MalformedRequest(_MALFORMED), "")
        else:
            log.error("request.crashed", exc_info=exc)
            response = problem_response(None, "")
        response.headers.update({HEADER: request_id, "Server": SERVER, "Access-Control-Allow-Origin": "*"})
        response.force_close()
        return response


class RefusingServer(web.Server):
    """aiohttp's server, with our protocol for each connection."""

    def __call__(self) -> RequestHandler:
        return RefusingRequestHandler(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """aiohttp's runner, with our server."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()

        async def handle(request: Any) -> web.StreamResponse:
            try:
                return await made.request_handler(request)
            except web.HTTPExpectationFailed as error:  # raised before any middleware, with the header in its text
                return problem_response(error, request.rel_url.raw_path)

        return RefusingServer(
            handle,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )


def make_runner(app: web.Application, **options: Any) -> Runner:
    """A runner as every service uses it: a caller who leaves cancels the handler, and no second access log.

    Bodies of requests stay as they came: nothing here takes compressed ones, and no bomb goes off.
    """
    return Runner(app, shutdown_timeout=SHUTDOWN_GRACE_SECONDS, **CONNECTION_OPTIONS, **options)


def run(service: str, settings_class: type[SettingsT], make_app: Callable[[SettingsT], web.Application]) -> None:
    """Run a service's application as `run_server` does."""

    @asynccontextmanager
    async def serving(settings: SettingsT) -> AsyncIterator[None]:
        if not isinstance(settings, ServiceSettings):
            raise TypeError("a service's settings are ServiceSettings")
        runner = make_runner(make_app(settings))
        try:
            await runner.setup()
            await listen(runner, settings.host, settings.port)
            yield
        finally:
            await runner.cleanup()

    run_server(service, settings_class, serving)


def run_server(
    service: str, settings_class: type[SettingsT], serving: Callable[[SettingsT], AbstractAsyncContextManager[object]]
) -> None:
    """Run a service until SIGTERM or SIGINT, then leave `serving`, which finishes what is under way, and return.

    Raises SystemExit with one line when a setting is wrong, the port is taken or aiohttp lacks its parser in C.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        # It reads hostile requests more loosely than the one in C (CVE-2026-111750).
        raise SystemExit("aiohttp was installed without its parser in C")
    settings = load_settings(settings_class)
    if not isinstance(settings, ServiceSettings):
        raise TypeError("a service's settings are ServiceSettings")
    configure_logging(service, level=settings.log_level, log_format=settings.log_format)
    uvloop.run(_serve(settings, serving(settings)))


async def listen(runner: web.BaseRunner, host: str, port: int, *, reuse_port: bool = False) -> None:
    """Begin to take connections. Raises SystemExit with one line when the port cannot be had."""
    try:
        await web.TCPSite(runner, host, port, reuse_address=True, reuse_port=reuse_port).start()
    except OSError as error:
        raise SystemExit(f"cannot listen on {host}:{port}: {error.strerror}") from None


async def _serve(settings: ServiceSettings, serving: AbstractAsyncContextManager[object]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving:
        log.info("service.started", host=settings.host, port=settings.port)
        await stop.wait()
        log.info("service.stopping")
    log.info("service.stopped")

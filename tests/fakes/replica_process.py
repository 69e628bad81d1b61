"""A replica of a service as a process of its own, and who starts, stops, kills and halts it.

`HOST=127.0.0.2 PORT=8000 python tests/fakes/replica_process.py` serves as every service here does, and answers any GET
with `[]`: after SLOW_SECONDS, or with bytes that are no HTTP if LIES is set.
"""

import asyncio
import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from service_kit.app import create_app
from service_kit.server import run
from service_kit.settings import ServiceSettings
from tests.fakes.waiting import until


class Settings(ServiceSettings):
    """What it reads."""

    slow_seconds: float = 0
    lies: bool = False


def make_app(settings: Settings) -> web.Application:
    """The application, ready to run."""

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(settings.slow_seconds)
        if settings.lies:
            assert request.transport is not None
            request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 20\r\n\r\n[]")
        return web.json_response([], headers={"Cache-Control": "no-store"})

    app = create_app()
    app.router.add_get("/{path:.*}", answer)
    return app


class ReplicaProcess:
    """One such process at an address of its own; it runs while the context is open, if nobody ends it before."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, **settings: str) -> None:
        """Start it, and wait until it answers."""
        self._spawn(settings)
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while not await self._answers(session):
                assert not self._has_ended(), "it ended at once"
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """End it without a word."""
        self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """End it in order, and wait until it has ended."""
        self._signal(signal.SIGTERM)
        await until(self._has_ended)

    def halt(self) -> None:
        """It keeps its connections and takes new ones, and does nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Undo `halt`."""
        self._signal(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if not self._has_ended():
            self.kill()
            await until(self._has_ended)

    def _spawn(self, settings: dict[str, str]) -> None:
        environment = {**os.environ, "HOST": self.host, "PORT": str(self._port), "LOG_LEVEL": "error", **settings}
        self._process = subprocess.Popen([sys.executable, "-m", "tests.fakes.replica_process"], env=environment)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _has_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"http://{self.host}:{self._port}/health/live") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


if __name__ == "__main__":
    run("replica", Settings, make_app)

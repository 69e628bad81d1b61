"""A service as the gateway sees it, on a real port: it keeps what it saw, and answers as its `answer` says."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDictProxy


class Seen(msgspec.Struct, frozen=True):
    """One request as it arrived."""

    method: str
    target: str
    """Path and query, undecoded."""
    headers: CIMultiDictProxy[str]
    body: bytes


async def answer_with_name(request: web.Request) -> web.StreamResponse:
    """Say which service this is."""
    return web.json_response({"service": request.app[NAME]}, headers={"Cache-Control": "public, max-age=60"})


NAME = web.AppKey("name", str)


class FakeService:
    """Answers every path, `/health/ready` apart, with `answer`; what it was asked is in `seen`."""

    def __init__(self, name: str) -> None:
        self.seen: list[Seen] = []
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = answer_with_name
        self.degraded: list[str] = []
        """What it says that it cannot do without, and lacks."""
        app = web.Application()
        app[NAME] = name
        app.router.add_get("/health/ready", self._say_ready)
        app.router.add_route("*", "/{path:.*}", self._note_and_answer)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return str(self.server.make_url("")).rstrip("/")

    @property
    def targets(self) -> list[str]:
        """What was asked for, in order."""
        return [one.target for one in self.seen]

    async def _say_ready(self, _request: web.Request) -> web.Response:
        status = 503 if self.degraded else 200
        return web.json_response(
            {"status": "not_ready" if self.degraded else "ready", "degraded": self.degraded}, status=status
        )

    async def _note_and_answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(Seen(request.method, request.raw_path, request.headers, await request.read()))
        return await self.answer(request)

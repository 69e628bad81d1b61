"""A scripted upstream on a real port: it answers as told and keeps what it was asked."""

import asyncio
from collections import deque
from collections.abc import Mapping

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDictProxy


class Asked(msgspec.Struct, frozen=True):
    """One request that arrived."""

    method: str
    target: str
    headers: CIMultiDictProxy[str]


class ScriptedUpstream:
    """Answers each path with what was scripted for it, in order; the last answer is repeated."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[str, deque[tuple[int, Mapping[str, str], bytes]]] = {}
        self._hangs: set[str] = set()
        self._cuts: set[str] = set()
        self.left_by_caller = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self.server = TestServer(app)

    async def __aenter__(self) -> "ScriptedUpstream":
        await self.server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return str(self.server.make_url("")).rstrip("/")

    def answer(
        self, path: str, body: bytes | object = b"", status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Script an answer; what is not bytes is sent as JSON."""
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        self._answers.setdefault(path, deque()).append((status, headers or {}, encoded))

    @property
    def scripted(self) -> frozenset[str]:
        """The paths that have an answer."""
        return frozenset(self._answers)

    def hang(self, path: str) -> None:
        """Never answer this path."""
        self._hangs.add(path)

    def cut(self, path: str) -> None:
        """Promise more than is sent for this path, then close the connection."""
        self._cuts.add(path)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(Asked(request.method, request.raw_path, request.headers))
        if request.path in self._hangs:
            try:
                await asyncio.sleep(3600)
            finally:
                self.left_by_caller.set()
        answers = self._answers.get(request.path)
        if answers is None:
            return web.json_response({"message": "Not Found"}, status=404)
        status, headers, body = answers.popleft() if len(answers) > 1 else answers[0]
        if request.path in self._cuts:
            response = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(body) + 100)})
            await response.prepare(request)
            await response.write(body)
            assert request.transport is not None
            request.transport.close()
            return response
        return web.Response(status=status, headers=headers, body=body)

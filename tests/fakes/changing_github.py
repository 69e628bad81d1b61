"""A GitHub of few resources on a real port: each has an ETag, can change, and the whole can be held up or fail."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer


class ChangingGitHub:
    """Answers what `put` gave it; as GitHub does, 304 to the ETag that it gave to the same credential."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        """The target of each request."""
        self.statuses: Counter[int] = Counter()
        self.status: int | None = None
        """Answer everything with this instead."""
        self._resources: dict[str, tuple[bytes, Mapping[str, str]]] = {}
        self._go_on = asyncio.Event()
        self._go_on.set()
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        self.server = TestServer(app)

    async def __aenter__(self) -> "ChangingGitHub":
        await self.server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.let_go()
        await self.server.close()

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return str(self.server.make_url("")).rstrip("/")

    def put(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Have a resource, or another state of it; bytes are sent as they are."""
        self._resources[path] = (body if isinstance(body, bytes) else msgspec.json.encode(body), headers or {})

    def remove(self, path: str) -> None:
        """Have it no longer."""
        del self._resources[path]

    def hold(self) -> None:
        """Answer nothing until `let_go`."""
        self._go_on.clear()

    def let_go(self) -> None:
        """Answer what waits, and what comes."""
        self._go_on.set()

    async def _handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.raw_path)
        await self._go_on.wait()
        response = self._respond(request)
        self.statuses[response.status] += 1
        return response

    def _respond(self, request: web.Request) -> web.Response:
        if self.status is not None:
            return web.json_response({"message": "Server Error"}, status=self.status)
        if request.path not in self._resources:
            return web.json_response({"message": "Not Found"}, status=404)
        body, headers = self._resources[request.path]
        seen_by = f"{request.headers.get('Authorization')} {request.headers.get('Accept')}".encode()
        headers = dict(headers)
        if not request.path.startswith("/search/"):
            headers["ETag"] = f'W/"{hashlib.sha256(seen_by + body).hexdigest()}"'
            if request.headers.get("If-None-Match") == headers["ETag"]:
                return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers, content_type="application/json")

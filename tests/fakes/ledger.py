"""A webhook receiver on a real port that keeps a ledger of all it is sent, and behaves as told, path by path."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from local.receiver import NotAuthentic, verify
from notifier_service.standard_webhooks import new_secret


@dataclass
class Entry:
    """One request, at a monotonic time; `status` is None until it is answered, and for ever if it never is."""

    key: str
    place: str
    """The path, without its slash."""
    data: dict[str, Any]
    at: float
    status: int | None = None


@dataclass
class Manners:
    """How a place answers."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False


class Ledger:
    """Every place answers 200 at once, unless `manners` says otherwise; a wrong signature fails the test."""

    def __init__(self) -> None:
        self.secret = new_secret()
        self.entries: list[Entry] = []
        self.manners: dict[str, Manners] = {}
        self.faults: list[str] = []
        """What no honest sender does."""
        self.url = ""
        self._under_way: Counter[str] = Counter()
        self._told = asyncio.Event()
        self._told.set()

    def hold(self) -> None:
        """Let what comes wait for `let_go`."""
        self._told.clear()

    def let_go(self) -> None:
        """Answer what waits, and from now on at once."""
        self._told.set()

    @property
    def taken(self) -> Counter[str]:
        """How often each idempotency key was answered with 200."""
        return Counter(entry.key for entry in self.entries if entry.status == 200)

    def at(self, place: str) -> list[Entry]:
        """What a place was sent."""
        return [entry for entry in self.entries if entry.place == place]

    async def receive(self, request: web.Request) -> web.Response:
        """Any path."""
        body = await request.read()
        key = request.headers.get("webhook-id", "")
        try:
            verify(request.headers, body, self.secret, time.time())
        except NotAuthentic as error:
            self.faults.append(f"{key}: {error}")
        place = request.path.strip("/")
        entry = Entry(key, place, json.loads(body)["data"], time.monotonic())
        self.entries.append(entry)
        self._under_way[key] += 1
        if self._under_way[key] > 1:
            self.faults.append(f"{key}: sent while it was being sent")
        try:
            manners = self.manners.get(place, Manners())
            if manners.hangs:
                await asyncio.Event().wait()
            await self._told.wait()
            entry.status = manners.status
            return web.Response(status=manners.status, headers=manners.headers)
        finally:
            self._under_way[key] -= 1


@asynccontextmanager
async def ledger() -> AsyncIterator[Ledger]:
    """A receiver that listens while the context is open."""
    kept = Ledger()
    app = web.Application()
    app.router.add_post("/{place:.*}", kept.receive)
    # A hanging answer must not hold up the end of a test.
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(shutdown_timeout=0.1)
    kept.url = str(server.make_url("/")).rstrip("/")
    try:
        yield kept
    finally:
        await server.close()

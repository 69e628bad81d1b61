"""A Slack incoming webhook on a real port: answers as told, and keeps a ledger of what it was sent."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer

SECRET_PATH = "/services/T00SECRETTEAM/B00SECRETHOOK/secretsecretsecretsecret"


@dataclass(frozen=True)
class Answer:
    """What Slack answers; `hangs` never answers."""

    status: int = 200
    body: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False


OK = Answer()
HANGS = Answer(hangs=True)
BROKEN = Answer(500, "<html>upstream error on " + SECRET_PATH + "</html>")
INVALID_PAYLOAD = Answer(400, "invalid_payload")


def limited(seconds: int) -> Answer:
    """429 with Retry-After."""
    return Answer(429, "rate_limited", {"Retry-After": str(seconds)})


@dataclass(frozen=True)
class Received:
    """One request, at a monotonic time, and the status it got (None: it hung)."""

    text: str
    at: float
    status: int | None


class FakeSlack:
    """Give answers with `will_answer`; after them, and without any, it takes every message that has a text."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.otherwise = OK
        self._answers: deque[Answer] = deque()
        self._told = asyncio.Event()
        self._told.set()
        self.url = ""

    def will_answer(self, *answers: Answer) -> None:
        """The next requests get these, in order."""
        self._answers.extend(answers)

    def will_answer_when_told(self) -> None:
        """Requests wait for `tell`."""
        self._told.clear()

    def tell(self) -> None:
        """Answer what waits, and from now on at once."""
        self._told.set()

    @property
    def taken(self) -> list[str]:
        """The texts that were answered with 200."""
        return [one.text for one in self.received if one.status == 200]

    async def receive(self, request: web.Request) -> web.Response:
        """The webhook."""
        payload = await request.json()
        text = payload.get("text", "")
        answer = self._answers.popleft() if self._answers else self.otherwise
        if answer == OK and not text:
            answer = Answer(400, "no_text")
        self.received.append(Received(text, time.monotonic(), None if answer.hangs else answer.status))
        await self._told.wait()
        if answer.hangs:
            await asyncio.Event().wait()
        return web.Response(status=answer.status, text=answer.body, headers=answer.headers)


@asynccontextmanager
async def fake_slack() -> AsyncIterator[FakeSlack]:
    """A webhook that listens while the context is open."""
    slack = FakeSlack()
    app = web.Application()
    app.router.add_post(SECRET_PATH, slack.receive)
    # A hanging answer must not hold up the end of a test.
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(shutdown_timeout=0.1)
    slack.url = str(server.make_url(SECRET_PATH))
    try:
        yield slack
    finally:
        await server.close()

"""A subscriber's webhook on a real port: checks signatures as Standard Webhooks has it, and keeps a ledger."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATH = "/hooks/secretsecretsecret"


@dataclass(frozen=True)
class Answer:
    """What it answers; `hangs` never does, `endless` begins and never ends."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    endless: bool = False


@dataclass(frozen=True)
class Received:
    """One request that arrived, and whether it was signed by us."""

    id: str
    payload: dict[str, Any]
    is_signed: bool
    status: int
    headers: dict[str, str]


class FakeWebhook:
    """Give answers with `will_answer`; after them, and without any, it takes what is rightly signed."""

    def __init__(self, secret: str = SECRET, *, answers_challenges: bool = True) -> None:
        self.received: list[Received] = []
        self.url = ""
        self.port = 0
        self._secret = secret
        self._answers_challenges = answers_challenges
        self._answers: deque[Answer] = deque()

    def will_answer(self, *answers: Answer) -> None:
        """The next requests get these, in order."""
        self._answers.extend(answers)

    @property
    def taken(self) -> list[Received]:
        """The ledger of what it took."""
        return [one for one in self.received if one.status == 200]

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """The webhook."""
        body = await request.read()
        payload = json.loads(body)
        is_signed = self._is_signed(request.headers.get("webhook-signature", ""), request.headers, body)
        answer = self._answers.popleft() if self._answers else Answer(200 if is_signed else 401)
        self.received.append(
            Received(request.headers.get("webhook-id", ""), payload, is_signed, answer.status, dict(request.headers))
        )
        if answer.hangs:
            await asyncio.Event().wait()
        if answer.endless:
            response = web.StreamResponse(status=answer.status)
            await response.prepare(request)
            while True:
                await response.write(b"x" * 1024)
                await asyncio.sleep(0)
        challenge = payload.get("data", {}).get("challenge")
        if challenge and self._answers_challenges and not answer.body and answer.status == 200:
            return web.json_response({"challenge": challenge})
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    def _is_signed(self, signatures: str, headers: Any, body: bytes) -> bool:
        """Written from the specification, not with what is tested."""
        signed = f"{headers.get('webhook-id')}.{headers.get('webhook-timestamp')}.".encode() + body
        key = base64.b64decode(self._secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return any(
            hmac.compare_digest(one.removeprefix("v1,"), expected) for one in signatures.split() if one[:3] == "v1,"
        )


@asynccontextmanager
async def fake_webhook(webhook: FakeWebhook | None = None, host: str = "127.0.0.1") -> AsyncIterator[FakeWebhook]:
    """A webhook that listens while the context is open."""
    webhook = webhook or FakeWebhook()
    app = web.Application()
    app.router.add_post(PATH, webhook.receive)
    server = TestServer(app, host=host)
    await server.start_server(shutdown_timeout=0.1)
    webhook.url = str(server.make_url(PATH))
    webhook.port = server.port or 0
    try:
        yield webhook
    finally:
        await server.close()

"""WeChat's server API on a real port: its stable token, subscribe messages on consent, and a ledger of what it sent."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

APP_ID = "wx0123456789abcdef"
APP_SECRET = "0123456789abcdef0123456789abcdef"
OPENID = "o7esq5OI1Uej6Xixw1lA2H7XDVbc"
TEMPLATE = "hD-ixGOhYmUfjOnI8MCzQMPshzGVeux_2vzyvQu7O68"
FIELDS = {"thing1": "repository", "number2": "stars"}
ERRMSGS = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest rid: 5f38a263-3d4c3ccd-01e705f7",
    40003: "invalid openid",
    40013: "invalid appid rid: 608d5803-66b84dfc-005383b1",
    40037: "invalid template_id",
    41030: "invalid page",
    40125: "invalid appsecret",
    43101: "user refuse to accept the msg rid: 64229bc2-48d0e8b1-2008ed9b",
    45009: "reach max api daily quota limit",
    47003: "argument invalid! data.thing1.value invalid",
}


@dataclass(frozen=True)
class Sent:
    """One message that reached its user."""

    openid: str
    template_id: str
    data: dict[str, str]
    page: str | None
    msgid: int


class FakeWechat:
    """Users accept with `accept`; each acceptance is good for one message."""

    def __init__(self) -> None:
        self.url = ""
        self.sent: list[Sent] = []
        self.calls = 0
        """Of subscribe/send, whatever came of them."""
        self.tokens_asked: list[bool] = []
        """For each call of stable_token: was it forced?"""
        self.accepted: Counter[tuple[str, str]] = Counter()
        self.users = {OPENID}
        self._number = 1
        self._errcodes: deque[int] = deque()
        self._hang_after_sending = 0
        self.token_errcode = 0
        self.token_delay_seconds = 0.0

    @property
    def token(self) -> str:
        """The one that is good."""
        return f"ACCESS-TOKEN-{self._number}-" + "x" * 120

    def accept(self, openid: str = OPENID, template_id: str = TEMPLATE) -> None:
        """A tap on "accept"."""
        self.accepted[openid, template_id] += 1

    def will_answer(self, *errcodes: int) -> None:
        """The next sends get these, whatever they are."""
        self._errcodes.extend(errcodes)

    def will_hang_after_sending(self, times: int = 1) -> None:
        """The next messages arrive, and nobody is told so."""
        self._hang_after_sending = times

    def withdraw_token(self) -> None:
        """Somebody else has fetched another one: ours is no longer good, and a stable one is not renewed by itself."""
        self._number += 1

    async def stable_token(self, request: web.Request) -> web.Response:
        """POST /cgi-bin/stable_token"""
        asked = await request.json()
        self.tokens_asked.append(asked.get("force_refresh", False))
        await asyncio.sleep(self.token_delay_seconds)
        if self.token_errcode:
            return _error(self.token_errcode)
        if asked.get("grant_type") != "client_credential" or asked.get("appid") != APP_ID:
            return _error(40013)
        if asked.get("secret") != APP_SECRET:
            return _error(40125)
        if asked.get("force_refresh"):
            self._number += 1
        return web.json_response({"access_token": self.token, "expires_in": 7200})

    async def send(self, request: web.Request) -> web.Response:
        """POST /cgi-bin/message/subscribe/send"""
        self.calls += 1
        if self._errcodes and (errcode := self._errcodes.popleft()):
            return _error(errcode)
        if request.query.get("access_token") != self.token:
            return _error(40001)
        body = await request.json()
        refusal = self._refusal(body)
        if refusal:
            return _error(refusal)
        self.accepted[body["touser"], body["template_id"]] -= 1
        data = {name: field["value"] for name, field in body["data"].items()}
        msgid = 1988810812324364291 + len(self.sent)
        self.sent.append(Sent(body["touser"], body["template_id"], data, body.get("page"), msgid))
        if self._hang_after_sending:
            self._hang_after_sending -= 1
            await asyncio.Event().wait()
        return _answer({"errcode": 0, "errmsg": "ok", "msgid": msgid})

    async def templates(self, request: web.Request) -> web.Response:
        """GET /wxaapi/newtmpl/gettemplate"""
        if request.query.get("access_token") != self.token:
            return _error(40001)
        one = {"priTmplId": TEMPLATE, "title": "t", "content": "c", "example": "e", "type": 2}
        return _answer({"errcode": 0, "errmsg": "ok", "data": [one]})

    def _refusal(self, body: dict[str, Any]) -> int:
        if body["touser"] not in self.users:
            return 40003
        if body["template_id"] != TEMPLATE:
            return 40037
        if set(body["data"]) != set(FIELDS) or not all(field["value"] for field in body["data"].values()):
            return 47003
        if len(body["data"]["thing1"]["value"]) > 20 or not body["data"]["number2"]["value"].isdigit():
            return 47003
        return 0 if self.accepted[body["touser"], body["template_id"]] > 0 else 43101


def _error(errcode: int) -> web.Response:
    return _answer({"errcode": errcode, "errmsg": ERRMSGS[errcode]})


def _answer(body: dict[str, Any]) -> web.Response:
    return web.Response(text=json.dumps(body), content_type="application/json")


@asynccontextmanager
async def fake_wechat() -> AsyncIterator[FakeWechat]:
    """A WeChat that listens while the context is open."""
    wechat = FakeWechat()
    app = web.Application()
    app.router.add_post("/cgi-bin/stable_token", wechat.stable_token)
    app.router.add_post("/cgi-bin/message/subscribe/send", wechat.send)
    app.router.add_get("/wxaapi/newtmpl/gettemplate", wechat.templates)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(shutdown_timeout=0.1)
    wechat.url = str(server.make_url("")).rstrip("/")
    try:
        yield wechat
    finally:
        await server.close()

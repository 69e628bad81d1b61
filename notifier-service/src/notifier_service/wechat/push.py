"""`/v1/wechat/push`: where WeChat tells of what users accept and take back, and of what became of messages."""

import time
from typing import Annotated

import msgspec
import structlog
from aiohttp import web
from pydantic import SecretStr

from notifier_service.settings import NotifierSettings
from notifier_service.wechat.ledger import Ledger
from notifier_service.wechat.push_messages import (
    NotFromWeChat,
    NotUnderstood,
    aes_key,
    check_signature,
    consent_changes,
    decrypt,
)
from service_kit.database import DATABASE
from service_kit.errors import Forbidden, InvalidRequest
from service_kit.query import Query

PATH = "/v1/wechat/push"
log = structlog.get_logger()


class _Encrypted(msgspec.Struct):
    Encrypt: Annotated[str, msgspec.Meta(min_length=1)]


class WechatPush:
    """The two handlers, for one Token."""

    def __init__(self, ledger: Ledger, token: SecretStr, app_id: str, encoding_aes_key: SecretStr | None) -> None:
        """With an EncodingAESKey pushes must be encrypted, without one they cannot be."""
        self._ledger = ledger
        self._token = token.get_secret_value()
        self._app_id = app_id
        self._aes_key = aes_key(encoding_aes_key.get_secret_value()) if encoding_aes_key else None

    async def get_push(self, request: web.Request) -> web.Response:
        """WeChat's check of the address: its echostr, once the signature is found to be right; else 403."""
        query = Query(request.rel_url.raw_query_string)
        self._check(query, "signature")
        return web.Response(text=query.text("echostr") or "")

    async def post_push(self, request: web.Request) -> web.Response:
        """Book what a push says; 403 for what is not WeChat's, 400 for what is not understood.

        Raises DatabaseUnavailable, StatementTimeout: WeChat then sends it again.
        """
        query = Query(request.rel_url.raw_query_string)
        message = self._message(query, await request.read())
        try:
            changes = consent_changes(message)
        except NotUnderstood as error:
            raise InvalidRequest(f"The push is not understood: {error}.") from None
        if changes:
            await self._ledger.take(message, changes)
            log.info("wechat_push.taken", kinds=[change.kind for change in changes])
        return web.Response(text="success")

    def _message(self, query: Query, body: bytes) -> bytes:
        if query.text("encrypt_type") != "aes":
            self._check(query, "signature")
            if self._aes_key is not None:
                raise Forbidden("The push is not encrypted, although WECHAT_PUSH_AES_KEY is set.")
            return body
        try:
            encrypted = msgspec.json.decode(body, type=_Encrypted).Encrypt
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise InvalidRequest(
                "The push has no Encrypt in JSON: choose JSON as the data format in WeChat's console."
            ) from None
        self._check(query, "msg_signature", encrypted)
        if self._aes_key is None:
            raise Forbidden("The push is encrypted, but WECHAT_PUSH_AES_KEY is not set.")
        try:
            return decrypt(encrypted, self._aes_key, self._app_id)
        except NotFromWeChat as error:
            raise Forbidden(f"The push is not taken: {error}.") from None

    def _check(self, query: Query, signature: str, *more: str) -> None:
        parts = [query.text(name) or "" for name in (signature, "timestamp", "nonce")]
        try:
            check_signature(self._token, *parts, *more, now=time.time())
        except NotFromWeChat as error:
            raise Forbidden(f"The push is not taken: {error}.") from None


def add_wechat_push(app: web.Application, settings: NotifierSettings) -> None:
    """The route, if WECHAT_PUSH_TOKEN is set; without it the path answers 404."""
    if settings.wechat_push_token is None or settings.wechat_app_id is None:
        return
    ledger = Ledger(app[DATABASE], settings.secret_key)
    push = WechatPush(ledger, settings.wechat_push_token, settings.wechat_app_id, settings.wechat_push_aes_key)
    app.router.add_get(PATH, push.get_push)
    app.router.add_post(PATH, push.post_push)

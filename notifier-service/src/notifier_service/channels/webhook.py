"""Webhooks: messages as JSON to subscribers' own servers, signed as Standard Webhooks has it (standardwebhooks.com)."""

import hmac
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from notifier_service.channels.channel import Config, Kind, Means
from notifier_service.channels.posting import Forbidden, Posted, judge, post
from notifier_service.guarded_connector import open_guarded_session
from notifier_service.models import Answer, Claimed, Endpoint, Rejected, Unreachable
from notifier_service.standard_webhooks import signed_headers

CHALLENGE_TYPE = "subscription.challenge"


class Webhook:
    """Posts each message with its idempotency key as `webhook-id`; 2xx means that it arrived."""

    name = "webhook"
    timeout_seconds = 10.0
    concurrency = 200

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """`session` is a guarded one."""
        self._session = session

    async def send(self, claimed: Claimed) -> Answer:
        """Post it once, within 10 s. Raises Unreachable."""
        payload = {"type": claimed.topic, "timestamp": claimed.created_at.astimezone(UTC), "data": claimed.body}
        try:
            posted = await self._post(claimed.endpoint, claimed.idempotency_key, payload)
        except Forbidden as error:
            return Rejected(str(error))
        return judge("the webhook", posted)

    async def challenge(self, endpoint: Endpoint) -> str | None:
        """Ask whether messages are wanted there: who wants them answers `{"challenge": …}` with what was sent.

        None when they are; else why it does not seem so, in words for whoever subscribes.
        """
        challenge = secrets.token_urlsafe(24)
        payload = {"type": CHALLENGE_TYPE, "timestamp": datetime.now(UTC), "data": {"challenge": challenge}}
        try:
            posted = await self._post(endpoint, f"challenge_{challenge}", payload)
        except (Forbidden, Unreachable) as error:
            return str(error)
        if not 200 <= posted.status < 300:
            return f"it answered the challenge with {posted.status} instead of 200"
        if not hmac.compare_digest(_answered(posted.body), challenge.encode()):
            return 'it did not answer {"challenge": …} with the challenge that was sent'
        return None

    async def _post(self, endpoint: Endpoint, message_id: str, payload: dict[str, Any]) -> Posted:
        if endpoint.address is None or endpoint.secret is None:
            raise Forbidden("it has no address or no secret")
        body = msgspec.json.encode(payload)
        signing = endpoint.secret.get_secret_value()
        headers = signed_headers(message_id, int(time.time()), body, signing)
        return await post(self._session, endpoint.address.get_secret_value(), body, headers, self.timeout_seconds)


def _answered(body: bytes) -> bytes:
    try:
        answer = msgspec.json.decode(body, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b""
    return answer.get("challenge", "").encode()


@asynccontextmanager
async def open_webhook(means: Means) -> AsyncIterator[Webhook]:
    """The channel, while the context is open."""
    allow_private = means.settings.webhook_private_addresses
    async with open_guarded_session(means.metrics, allow_private=allow_private, called="webhook") as session:
        yield Webhook(session)


def check_url(address: str, config: Config) -> str:
    """An https:// or http:// URL without credentials; its fragment is dropped. Raises ValueError."""
    if config:
        raise ValueError("takes no config on this channel")
    try:
        url = URL(address)
        # As it will be read and looked up: what has an empty or an endless label is no name.
        is_name = bool(url.host and url.raw_host and url.raw_host.encode("idna"))
    except ValueError:
        is_name = False
    if not is_name or url.scheme not in {"http", "https"} or not address.isprintable():
        raise ValueError("should be an https:// or http:// URL")
    if url.user is not None or url.password is not None:
        raise ValueError("should not carry credentials")
    return str(url.with_fragment(None))


KIND = Kind(open_webhook, check_url, is_signed=True, is_challenged=True)

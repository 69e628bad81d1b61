"""The ledger of consent: in WeChat one acceptance is one message, and nobody is sent one more."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Literal

import msgspec
from pydantic import SecretStr

from notifier_service.wechat.errcodes import meaning
from notifier_service.wechat.push_messages import ConsentChange
from service_kit.database import Database
from service_kit.queries import read_queries

Verdict = Literal["unknown", "sent", "not_sent", "used_up"]
FORGET_BATCH = 1000
QUERIES = read_queries(__file__)


class Reservation(msgspec.Struct, frozen=True):
    """What one delivery has taken, and what WeChat said to it before."""

    verdict: Verdict
    msgid: str | None


class Ledger:
    """Every method raises DatabaseUnavailable or StatementTimeout."""

    def __init__(self, database: Database, secret_key: SecretStr) -> None:
        self._database = database
        self._key = hmac.digest(secret_key.get_secret_value().encode(), b"wegit wechat readers", "sha256")

    async def reserve(self, delivery_id: int, attempt: int, openid: str, template_id: str) -> Reservation | None:
        """Take one acceptance for a delivery, or what it took at an earlier attempt; None when there is none."""
        row = await self._database.fetch_one(
            QUERIES["reserve"],
            {
                "delivery_id": delivery_id,
                "attempt": attempt,
                "reader": self._reader(openid),
                "template_id": template_id,
            },
        )
        return None if row is None else Reservation(*row)

    async def note(self, delivery_id: int, attempt: int, verdict: Verdict, msgid: str | None = None) -> None:
        """Keep what WeChat said; the delivery's end settles it."""
        parameters = {"delivery_id": delivery_id, "attempt": attempt, "verdict": verdict, "msgid": msgid}
        await self._database.execute(QUERIES["note"], parameters)

    async def take(self, message: bytes, changes: Sequence[ConsentChange]) -> None:
        """Book what a push says; the same message a second time changes nothing."""
        await self._database.execute(
            QUERIES["take_push"],
            {
                "digest": hashlib.sha256(message).digest(),
                "readers": [self._reader(change.openid) for change in changes],
                "template_ids": [change.template_id for change in changes],
                "kinds": [change.kind for change in changes],
                "msgids": [change.msgid for change in changes],
                "used_up": [meaning(change.errcode) == "used_up" for change in changes],
            },
        )

    async def available(self, openid: str, template_id: str) -> int:
        """How many messages this user still takes."""
        row = await self._database.fetch_one(
            QUERIES["available"], {"reader": self._reader(openid), "template_id": template_id}
        )
        return row[0] if row else 0

    async def forget(self) -> None:
        """Delete one batch of what is past its time."""
        for name in ("forget_reservations", "forget_pushes"):
            await self._database.execute(QUERIES[name], {"limit": FORGET_BATCH})

    def _reader(self, openid: str) -> bytes:
        return hmac.digest(self._key, openid.encode(), "sha256")

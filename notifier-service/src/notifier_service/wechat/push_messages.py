"""What WeChat pushes to us: its signatures, its encryption, its events. Pure.

Source: "消息推送" (developers.weixin.qq.com, miniprogram/dev/framework/server-ability/message-push.html).
"""

import base64
import binascii
import hashlib
import hmac
from typing import Any, Literal

import msgspec

OLDEST_SECONDS = 300
"""A push older than this is a repetition of an attacker, not of WeChat, which gives up within half a minute."""
BLOCK_BYTES = 32
"""Of the padding: PKCS#7, but to a multiple of 32 instead of AES's 16."""


class NotFromWeChat(Exception):
    """Not signed with our token, too old, or not decipherable with our key; the text says which and quotes nothing."""


class NotUnderstood(Exception):
    """Signed, and yet not of a form that is known here."""


class ConsentChange(msgspec.Struct, frozen=True):
    """What an event says about one template of one user."""

    openid: str
    template_id: str
    kind: Literal["accepted", "withdrawn", "sent", "not_sent"]
    """accepted: one more message. withdrawn: none any more. sent, not_sent: what became of `msgid`."""
    msgid: str = ""
    errcode: int = 0


def check_signature(token: str, signature: str, timestamp: str, nonce: str, *more: str, now: float) -> None:
    """SHA-1 of the sorted parts, and a `timestamp` (Unix, seconds) within five minutes. Raises NotFromWeChat."""
    joined = "".join(sorted((token, timestamp, nonce, *more)))
    expected = hashlib.sha1(joined.encode()).hexdigest()  # noqa: S324 - WeChat's choice
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise NotFromWeChat("the signature is not WeChat's")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now - int(timestamp[:20])) > OLDEST_SECONDS:
        raise NotFromWeChat("the push is more than five minutes old")


def aes_key(encoding_aes_key: str) -> bytes:
    """The 32 bytes of an EncodingAESKey, which has 43 characters. Raises ValueError, which does not quote it."""
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(encoding_aes_key) != 43 or len(key) != 32:
        raise ValueError("should have the 43 characters of an EncodingAESKey")
    return key


def decrypt(encrypted: str, key: bytes, app_id: str) -> bytes:
    """The message in `Encrypt`: 16 random bytes, its length in 4, itself, and our appid. Raises NotFromWeChat."""
    # Imported late: only those who receive encrypted pushes need the library's 7 MB.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    try:
        data = base64.b64decode(encrypted, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or len(data) % 16:
        raise NotFromWeChat("the encrypted part is damaged")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    padded = decryptor.update(data) + decryptor.finalize()
    padding = padded[-1]
    plain = padded[:-padding] if 1 <= padding <= BLOCK_BYTES else b""
    length = int.from_bytes(plain[16:20], "big")
    message, receiver = plain[20 : 20 + length], plain[20 + length :]
    if len(message) != length or receiver != app_id.encode():
        raise NotFromWeChat("it was not encrypted with our key for our appid")
    return message


def consent_changes(message: bytes) -> list[ConsentChange]:
    """What an event says about consent; nothing for the many events that are about other things.

    `List` is an object or an array, at the top or in the event's own object, as WeChat's documents show both.
    Raises NotUnderstood.
    """
    try:
        event = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NotUnderstood("it is not JSON: choose JSON as the data format in WeChat's console") from None
    name = event.get("Event") if isinstance(event, dict) else None
    if not isinstance(name, str) or name not in _OWN_OBJECT:
        return []
    openid = event.get("FromUserName")
    if not isinstance(openid, str) or not openid:
        raise NotUnderstood("the event has no FromUserName")
    holder = event.get(_OWN_OBJECT[name], event)
    if isinstance(holder, dict) and "List" in holder:
        holder = holder["List"]
    entries = holder if isinstance(holder, list) else [holder]
    return [change for entry in entries if (change := _change(name, openid, entry)) is not None]


_OWN_OBJECT = {
    "subscribe_msg_popup_event": "SubscribeMsgPopupEvent",
    "subscribe_msg_change_event": "SubscribeMsgChangeEvent",
    "subscribe_msg_sent_event": "SubscribeMsgSentEvent",
}


def _change(event: str, openid: str, entry: Any) -> ConsentChange | None:
    if isinstance(entry, dict) and isinstance(entry.get("List"), dict):
        entry = entry["List"]
    template_id = entry.get("TemplateId") if isinstance(entry, dict) else None
    if not isinstance(template_id, str) or not template_id:
        raise NotUnderstood("the event names no TemplateId")
    if event == "subscribe_msg_sent_event":
        errcode = _number(entry.get("ErrorCode", 0))
        return ConsentChange(
            openid, template_id, "not_sent" if errcode else "sent", str(entry.get("MsgID", "")), errcode
        )
    status = entry.get("SubscribeStatusString")
    if event == "subscribe_msg_popup_event" and status == "accept":
        return ConsentChange(openid, template_id, "accepted")
    if event == "subscribe_msg_change_event" and status == "reject":
        return ConsentChange(openid, template_id, "withdrawn")
    return None  # who said no to the popup gave nothing and took nothing back


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise NotUnderstood("the event's ErrorCode is no number") from None

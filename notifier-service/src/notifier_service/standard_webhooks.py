"""Standard Webhooks (standardwebhooks.com, specification 1.0): secrets and the headers that sign a message. Pure."""

import base64
import binascii
import hmac
import secrets

PREFIX = "whsec_"
KEY_BYTES = 32
"""Of a new secret; the specification wants 24 to 64."""


def new_secret() -> str:
    """A secret as both sides write it: `whsec_` and Base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def rotated(signing: str) -> str:
    """A new secret in front of the newest one of `signing`: until the next rotation both sign every message."""
    return f"{new_secret()} {signing.split()[0]}"


def check_secret(secret: str) -> None:
    """Raises ValueError, which does not quote it, for what is no secret with a key of 24 to 64 bytes."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError("a webhook's secret is whsec_ and the Base64 of 24 to 64 bytes")


def signed_headers(message_id: str, timestamp: int, body: bytes, signing: str) -> dict[str, str]:
    """The three headers of a message. `timestamp` is Unix time in seconds, `signing` one secret or more, by spaces."""
    content = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(content, secret) for secret in signing.split()),
    }


def _signature(content: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()

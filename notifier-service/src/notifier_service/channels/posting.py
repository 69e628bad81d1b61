"""One POST to an address that somebody gave: the status decides what became of the message."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec

from notifier_service.guarded_connector import was_forbidden
from notifier_service.models import Answer, Delivered, Rejected, Unreachable
from notifier_service.retry import retry_after_seconds
from service_kit.client import deadline
from service_kit.errors import UpstreamFault

ANSWER_LIMIT_BYTES = 16 * 1024
"""What is read of an answer; of a longer one the connection is closed instead."""
ANSWER_SECONDS = 2.0
"""How long an answer's body may take once its status is known, within the call's own time."""
_HEADERS = {"Content-Type": "application/json", "User-Agent": "WeGit"}
_PASSING_STATUSES = frozenset({408, 425, 429})


class Posted(msgspec.Struct, frozen=True):
    """What was answered: `body` is its beginning, at most 16 KiB."""

    status: int
    headers: Mapping[str, Any]
    body: bytes


class Forbidden(Exception):
    """The address is not on the public internet, and nothing else is allowed."""


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float
) -> Posted:
    """Post JSON once, following no redirect. Raises Unreachable and Forbidden; neither quotes the URL."""
    try:
        with deadline(timeout_seconds) as end:
            async with session.post(url, data=body, headers={**_HEADERS, **headers}, allow_redirects=False) as response:
                return Posted(response.status, response.headers, await _beginning(response, end))
    except UpstreamFault as error:
        if was_forbidden(error):
            raise Forbidden("the address is not on the public internet") from None
        if isinstance(error.__cause__, aiohttp.InvalidURL):  # an IPv4 address in another form than four numbers
            raise Forbidden("the address is no URL") from None
        raise Unreachable(error.detail) from None


def judge(who: str, posted: Posted, reason: str = "") -> Answer:
    """What a status means: 2xx took it, 410 wants nothing ever again, 5xx, 408, 425 and 429 may take it later.

    `reason` is what the answer gives as one, empty if nothing. Raises Unreachable.
    """
    status = posted.status
    if 200 <= status < 300:
        return Delivered(status)
    if 300 <= status < 400:
        reason = "redirects are not followed"
    said = f"{who} answered {status}{reason and f': {reason}'}"
    if status >= 500 or status in _PASSING_STATUSES:
        retry_after = retry_after_seconds(posted.headers.get("Retry-After"), datetime.now(UTC))
        raise Unreachable(said, http_status=status, retry_after_seconds=retry_after)
    return Rejected(said, status, disable_endpoint=status == 410)


async def _beginning(response: aiohttp.ClientResponse, end: float) -> bytes:
    """The status is known: whatever goes wrong with the body does not change what became of the message."""
    read = bytearray()
    try:
        async with asyncio.timeout_at(min(asyncio.get_running_loop().time() + ANSWER_SECONDS, end)):
            async for chunk in response.content.iter_any():
                read += chunk
                if len(read) > ANSWER_LIMIT_BYTES:
                    break
            else:
                return bytes(read)
    except (TimeoutError, aiohttp.ClientError):
        pass
    response.close()
    return bytes(read[:ANSWER_LIMIT_BYTES])

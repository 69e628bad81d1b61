"""Alerts on their way into the queue: from the services that have no database, and from the notifier itself."""

from typing import Annotated

import msgspec
from aiohttp import web

from notifier_service.queue import Queue
from service_kit.alerts import Alert
from service_kit.errors import InvalidRequest
from service_kit.redaction import redact

QUEUE = web.AppKey("queue", Queue)
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class PostedAlert(Alert, forbid_unknown_fields=True):
    """An alert as another service posts it."""

    service: _Name
    error: _Name
    minute: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\dZ$")]
    occurrences: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1


_decoder = msgspec.json.Decoder(PostedAlert)


async def post_alert(request: web.Request) -> web.Response:
    """Take an alert: 202 once it is stored; 400 for a body that is none. Raises DatabaseUnavailable."""
    try:
        alert = _decoder.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not an alert: {error}") from error
    message_id = await enqueue_alert(request.app[QUEUE], alert)
    return web.json_response({"message_id": message_id}, status=202)


async def enqueue_alert(queue: Queue, alert: Alert) -> int:
    """Store an alert, or count a known one up; return the message's id. Redacted here, whatever the sender did."""
    body = {
        name: _storable(value)
        for name, value in msgspec.structs.asdict(alert).items()
        if name != "occurrences"  # the queue counts them
    }
    return await queue.enqueue("alert", msgspec.json.encode(body), alert.dedup_key, alert.occurrences)


def _storable(text: str) -> str:
    return redact(text).replace("\0", "\N{REPLACEMENT CHARACTER}")  # jsonb takes no NUL

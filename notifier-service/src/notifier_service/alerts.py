"""Alerts of the services that have no database, on their way into the queue."""

from typing import Annotated

import msgspec
from aiohttp import web

from service_kit.alerts import Alert, storable
from service_kit.errors import InvalidRequest
from service_kit.notifications import enqueue_alerts

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
    await enqueue_alerts(request.app)(_storable(alert))
    return web.Response(status=202)


def _storable(alert: Alert) -> Alert:
    """Every text as it may be stored, whatever the sender did."""
    texts = {name: storable(value) for name, value in msgspec.structs.asdict(alert).items() if isinstance(value, str)}
    return msgspec.structs.replace(alert, **texts)

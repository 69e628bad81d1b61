"""/v1/notifications: what was delivered, waits, is dead."""

import msgspec
from aiohttp import web

from notifier_service.api.subscriptions import ID, PRIVATE
from notifier_service.inspection import STATES, Inspection, WholeNotification
from notifier_service.steering import Steering
from service_kit.answers import Meta, envelope
from service_kit.database import DATABASE
from service_kit.errors import InvalidParameter, UnprocessableParameter
from service_kit.query import Query

MOST_PAGES = 100


def notification_routes() -> list[web.RouteDef]:
    """The routes, not yet guarded."""
    return [
        web.get("/v1/notifications", list_notifications),
        web.get(f"/v1/notifications/{ID}", get_notification),
        web.post(f"/v1/notifications/{ID}/retry", retry_notification),
    ]


async def list_notifications(request: web.Request) -> web.Response:
    """The newest first, by `state`, `topic` and `endpoint`."""
    query = Query(request.rel_url.raw_query_string)
    page = query.page(most=MOST_PAGES)
    state = query.text("state")
    if state is not None and state not in STATES:
        raise UnprocessableParameter("state", f"should be one of {', '.join(STATES)}.", nearest=STATES)
    found, has_more = await Inspection(request.app[DATABASE]).notifications(
        page=page, state=state, topic=query.text("topic"), endpoint=_endpoint(query)
    )
    next_page = page + 1 if has_more and page < MOST_PAGES else None
    return envelope(request, found, Meta(page=page, next_page=next_page), PRIVATE)


async def get_notification(request: web.Request) -> web.Response:
    """One, with its message and its tries."""
    return await _whole(request, int(request.match_info["id"]))


async def retry_notification(request: web.Request) -> web.Response:
    """Send a waiting one now, or a dead one again: the answer is the notification under which it goes on."""
    notification_id = int(request.match_info["id"])
    await Inspection(request.app[DATABASE]).notification(notification_id)  # or it is not found
    going_on = await Steering(request.app[DATABASE]).retry(notification_id)
    return await _whole(request, going_on)


async def _whole(request: web.Request, notification_id: int) -> web.Response:
    whole: WholeNotification = await Inspection(request.app[DATABASE]).notification(notification_id)
    data = {**msgspec.to_builtins(whole.notification), **msgspec.to_builtins(whole)}
    del data["notification"]
    return envelope(request, data, Meta(), PRIVATE)


def _endpoint(query: Query) -> int | None:
    text = query.text("endpoint", most_characters=18)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise InvalidParameter("endpoint", "should be an endpoint's id, a whole number.")
    return int(text)

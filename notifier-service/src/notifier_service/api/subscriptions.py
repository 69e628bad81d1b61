"""/v1/subscriptions: who is told of what."""

from typing import Any

import msgspec
from aiohttp import web

from notifier_service.api.body import convert_body, decode_body
from notifier_service.subscription import Wish
from notifier_service.subscriptions import Subscription, Subscriptions, wish_of
from notifier_service.target import Target
from service_kit.answers import Freshness, Meta, envelope
from service_kit.errors import InvalidParameter
from service_kit.query import Query

SUBSCRIPTIONS = web.AppKey("subscriptions", Subscriptions)
PRIVATE = Freshness(seconds_left=0, is_private=True)
MOST_PAGES = 1000


class NewSubscription(Wish, kw_only=True):
    """A wish, and where its messages go."""

    endpoint: Target


def subscription_routes() -> list[web.RouteDef]:
    """The routes, not yet guarded."""
    return [
        web.get("/v1/subscriptions", list_subscriptions),
        web.post("/v1/subscriptions", create_subscription),
        web.get(f"/v1/subscriptions/{ID}", get_subscription),
        web.patch(f"/v1/subscriptions/{ID}", change_subscription),
        web.delete(f"/v1/subscriptions/{ID}", delete_subscription),
        web.post(f"/v1/subscriptions/{ID}/confirm", confirm_subscription),
        web.post(f"/v1/subscriptions/{ID}/rotate-secret", rotate_secret),
    ]


ID = "{id:[0-9]{1,18}}"


async def list_subscriptions(request: web.Request) -> web.Response:
    """The newest first."""
    query = Query(request.rel_url.raw_query_string)
    page = query.page(most=MOST_PAGES)
    found, has_more = await request.app[SUBSCRIPTIONS].page(
        page, topic=query.text("topic"), channel=query.text("channel")
    )
    return envelope(request, found, Meta(page=page, next_page=page + 1 if has_more else None), PRIVATE)


async def create_subscription(request: web.Request) -> web.Response:
    """201 for a new one, 200 for one that is there already; a webhook is asked at once whether it wants messages."""
    wanted = decode_body(await request.read(), NewSubscription)
    subscriptions = request.app[SUBSCRIPTIONS]
    created = await subscriptions.create(wanted, wanted.endpoint)
    told: dict[str, Any] = {}
    if created.subscription.endpoint.state == "unconfirmed":
        told["confirmation"] = await _confirm(subscriptions, created.subscription.id)
    if created.secret is not None:
        told["secret"] = created.secret
    answer = _one(request, await subscriptions.get(created.subscription.id), **told)
    if created.is_new:
        answer.set_status(201)
        answer.headers["Location"] = f"/v1/subscriptions/{created.subscription.id}"
    return answer


async def get_subscription(request: web.Request) -> web.Response:
    """One."""
    return _one(request, await request.app[SUBSCRIPTIONS].get(_id(request)))


async def change_subscription(request: web.Request) -> web.Response:
    """A merge patch (RFC 7396): members that are given replace, null takes back to the default."""
    changes = decode_body(await request.read(), dict[str, Any])
    for fixed in ("topic", "endpoint"):
        if fixed in changes:
            raise InvalidParameter(fixed, "cannot be changed; subscribe anew.")
    subscriptions = request.app[SUBSCRIPTIONS]
    before = msgspec.to_builtins(wish_of(await subscriptions.get(_id(request))))
    after = {name: value for name, value in {**before, **changes}.items() if value is not None}
    return _one(request, await subscriptions.change(_id(request), convert_body(after, Wish)))


async def delete_subscription(request: web.Request) -> web.Response:
    """204; its endpoint goes with its last subscription."""
    await request.app[SUBSCRIPTIONS].delete(_id(request))
    return web.Response(status=204, headers={"Cache-Control": PRIVATE.cache_control})


async def confirm_subscription(request: web.Request) -> web.Response:
    """Ask its endpoint (again) whether it wants messages."""
    subscriptions = request.app[SUBSCRIPTIONS]
    confirmation = await _confirm(subscriptions, _id(request))
    return _one(request, await subscriptions.get(_id(request)), confirmation=confirmation)


async def rotate_secret(request: web.Request) -> web.Response:
    """A new secret, shown once; messages are signed with the one before as well."""
    secret = await request.app[SUBSCRIPTIONS].rotate_secret(_id(request))
    return envelope(request, {"secret": secret}, Meta(), PRIVATE)


async def _confirm(subscriptions: Subscriptions, subscription_id: int) -> dict[str, Any]:
    refusal = await subscriptions.confirm(subscription_id)
    return {"confirmed": refusal is None, "reason": refusal}


def _one(request: web.Request, subscription: Subscription, **told: Any) -> web.Response:
    return envelope(request, {**msgspec.to_builtins(subscription), **told}, Meta(), PRIVATE)


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])

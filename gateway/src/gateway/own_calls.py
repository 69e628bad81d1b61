"""Calls that the gateway makes for itself: alerts to the notifier, and whether each service lives."""

from collections.abc import AsyncIterator, Callable

import aiohttp
import msgspec
from aiohttp import web

from service_kit.alerts import Alert, Deliver
from service_kit.client import fetch, open_session
from service_kit.health import CHECK_TIMEOUT_SECONDS, Check
from service_kit.metrics import METRICS

ALERT_TIMEOUT_SECONDS = 5.0
ANSWER_LIMIT_BYTES = 4096
OWN_SESSION = web.AppKey("own_session", aiohttp.ClientSession)


async def own_session(app: web.Application) -> AsyncIterator[None]:
    """`app[OWN_SESSION]`: unlike for what is passed on, here a bad status is an error."""
    async with open_session(app[METRICS]) as app[OWN_SESSION]:
        yield


def post_alerts_to(notifier_url: str) -> Callable[[web.Application], Deliver]:
    """How the gateway, which has no database, hands its alerts on."""

    def deliver_from(app: web.Application) -> Deliver:
        async def deliver(alert: Alert) -> None:
            await fetch(
                app[OWN_SESSION],
                "POST",
                f"{notifier_url}/internal/alerts",
                timeout_seconds=ALERT_TIMEOUT_SECONDS,
                body_limit_bytes=ANSWER_LIMIT_BYTES,
                json=msgspec.to_builtins(alert),
            )

        return deliver

    return deliver_from


def check_live(app: web.Application, url: str) -> Check:
    """Whether a service's process answers; without it the gateway still serves what the others give."""

    async def is_live() -> bool:
        await fetch(
            app[OWN_SESSION],
            "GET",
            f"{url}/health/live",
            timeout_seconds=CHECK_TIMEOUT_SECONDS,
            body_limit_bytes=ANSWER_LIMIT_BYTES,
        )
        return True

    return Check(is_live)

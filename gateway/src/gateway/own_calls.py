"""Calls that the gateway makes for itself: alerts to the notifier, and whether each service is ready."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from gateway.hop.replica import ReplicaState
from service_kit.alerts import Alert, Deliver
from service_kit.client import fetch, open_session
from service_kit.errors import UpstreamStatus
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


def check_ready(app: web.Application, url: str, replicas: Callable[[], list[ReplicaState]]) -> Check:
    """Whether a service says that it is ready; without it the gateway still serves what the others give.

    Its details are what the service said, if anything, and each of its replicas as the hop knows them.
    """
    said: dict[str, Any] = {}

    async def is_ready() -> bool:
        said.clear()
        try:
            await fetch(
                app[OWN_SESSION],
                "GET",
                f"{url}/health/ready",
                timeout_seconds=CHECK_TIMEOUT_SECONDS,
                body_limit_bytes=ANSWER_LIMIT_BYTES,
            )
        except UpstreamStatus as refusal:
            said.update(msgspec.json.decode(refusal.body, type=dict[str, Any]))
            return False
        return True

    def details() -> dict[str, Any]:
        return {**said, "replicas": [replica._asdict() for replica in replicas()]}

    return Check(is_ready, details=details)

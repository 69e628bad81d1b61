"""The notification queue's door: the SQL function that a migration owns, and alerts that go through it."""

import msgspec
from aiohttp import web

from service_kit.alerts import Alert, Deliver
from service_kit.database import DATABASE

ALERT_TOPIC = "alert"


def enqueue_alerts(app: web.Application) -> Deliver:
    """Hand alerts on by enqueueing them; the same error in the same minute adds to the count of the first row.

    The returned function raises DatabaseUnavailable.
    """

    async def deliver(alert: Alert) -> None:
        await app[DATABASE].fetch_one(
            "select enqueue_notification(%s, %s::jsonb, %s, %s)",
            (ALERT_TOPIC, msgspec.json.encode(alert).decode(), alert.dedup_key, alert.occurrences),
        )

    return deliver

"""Stops sending with a WeChat template that WeChat does not take: each delivery would be refused like the first."""

from datetime import UTC, datetime

import msgspec

from service_kit.alerts import Alert, storable
from service_kit.database import Database
from service_kit.notifications import ALERT_TOPIC
from service_kit.queries import read_queries

QUERIES = read_queries(__file__)


async def pause_template(database: Database, template_id: str, why: str) -> bool:
    """Pause everybody who is told with this template, and tell operators; False when somebody has done so already.

    `notifier resume template ID` lets it go on. Raises DatabaseUnavailable, StatementTimeout.
    """
    at = datetime.now(UTC)
    alert = Alert(
        "notifier-service",
        "WechatTemplateRefused",
        template_id,
        f"{storable(why)[:300]}. Nothing more is sent with this template; what comes for it waits."
        f" When it is mended: `notifier resume template {template_id}`, `notifier dead replay --channel wechat`.",
        "",
        at.strftime("%Y-%m-%dT%H:%MZ"),
        incident=f"wechat template {template_id} {at.isoformat()}",
    )
    row = await database.fetch_one(
        QUERIES["pause"],
        {
            "template_id": template_id,
            "topic": ALERT_TOPIC,
            "alert": msgspec.json.encode(alert).decode(),
            "dedup_key": alert.dedup_key,
        },
    )
    return row is not None

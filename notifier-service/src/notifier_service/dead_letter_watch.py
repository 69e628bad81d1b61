"""Tells operators when dead letters grow in number: on which channel, and why the last one died."""

import asyncio
from datetime import UTC, datetime

from notifier_service.repeating import Repeating
from service_kit.alerts import Alerts
from service_kit.database import Database

LEAST = 10
"""In an hour on one channel: fewer are a receiver or two that are gone."""
INTERVAL_SECONDS = 60.0

GROWING = """
select channel, count(*), (array_agg(reason order by died_at desc))[1]
from dead_letter
where replayed_as is null and died_at > now() - interval '1 hour'
group by channel
having count(*) >= %s
"""


class DeadLetterWatch:
    """Every replica looks; the incident is told once a day and channel, by whichever sees it first."""

    def __init__(self, database: Database, alerts: Alerts) -> None:
        self._database = database
        self._alerts = alerts
        self.run = Repeating("dead letters", self.look, self._wait).run

    async def look(self) -> None:
        """Report what has grown. Raises DatabaseUnavailable, StatementTimeout."""
        day = datetime.now(UTC).date().isoformat()
        for channel, count, reason in await self._database.fetch_all(GROWING, (LEAST,)):
            self._alerts.report_incident(
                f"dead letters {channel} {day}",
                kind="DeadLettersGrowing",
                where=channel,
                message=f"{count} deliveries were given up within an hour, the last one because: {reason}."
                " `notifier dead ls` shows them, `notifier dead replay` sends them again.",
            )

    async def _wait(self) -> None:
        await asyncio.sleep(INTERVAL_SECONDS)

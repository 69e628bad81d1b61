"""Alert storms: when many alerts wait for one place, the next message tells of all of them, with a count."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from notifier_service.models import Claimed
from notifier_service.wording import word
from notifier_service.wording.alert import with_more
from notifier_service.wording.parts import Wording
from service_kit.database import Database, DatabaseUnavailable, Row, StatementTimeout
from service_kit.notifications import ALERT_TOPIC
from service_kit.queries import read_queries

FEWEST = 5
"""So many alerts that wait are a storm; fewer are soon told one by one."""
MOST = 2000
LATECOMERS_SECONDS = 0.3
"""After a first look at a storm, to a second and last one."""
QUERIES = read_queries(__file__)
log = structlog.get_logger()


class AlertStorms:
    """For channels that alerts go to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def telling(self, claimed: Claimed) -> AsyncIterator[Wording]:
        """The delivery in words, with those of the alerts that wait behind it in a storm.

        Left without an exception, the message has arrived, and what it told of need not be told again; else that waits
        again. Whoever tells at the same time tells of others. Raises NoWording, DatabaseUnavailable, StatementTimeout.
        """
        language = claimed.endpoint.language
        wording = word(claimed.topic, claimed.body, language, claimed.occurrences)
        rows = await self._gather(claimed, FEWEST) if claimed.topic == ALERT_TOPIC else []
        if not rows:
            yield wording
            return
        try:
            # What claims had in their hands meanwhile and have put off since belongs to the storm.
            await asyncio.sleep(LATECOMERS_SECONDS)
            rows += await self._gather(claimed, 1)
            kinds: Counter[tuple[str, str]] = Counter()
            for _id, _attempt, service, error, occurrences in rows:
                kinds[service, error] += occurrences
            yield with_more(wording, kinds, language)
        except BaseException:
            await self._end(claimed, "hand_back", _fences(rows))
            raise
        told = f"told of by delivery {claimed.id}, one of {len(rows) + 1}"
        place = {"endpoint_id": claimed.endpoint.id, "channel": claimed.endpoint.channel}
        await self._end(claimed, "settle", {**_fences(rows), **place, "told": told})

    async def _gather(self, claimed: Claimed, fewest: int) -> list[Row]:
        return await self._database.fetch_all(
            QUERIES["gather"],
            {
                "id": claimed.id,
                "attempt": claimed.attempt,
                "endpoint_id": claimed.endpoint.id,
                "channel": claimed.endpoint.channel,
                "fewest": fewest,
                "most": MOST,
            },
        )

    async def _end(self, claimed: Claimed, how: str, parameters: dict[str, Any]) -> None:
        """What cannot be written is handed back when this worker's leases are renewed, and told one by one."""
        try:
            count = await self._database.execute(QUERIES[how], parameters)
        except (DatabaseUnavailable, StatementTimeout) as error:
            log.warning("alert_storm.unsettled", delivery_id=claimed.id, error=error.detail)
        else:
            log.info(
                "alert_storm.told" if how == "settle" else "alert_storm.untold", delivery_id=claimed.id, count=count
            )


def _fences(rows: list[Row]) -> dict[str, Any]:
    return {"ids": [row[0] for row in rows], "attempts": [row[1] for row in rows]}

"""Alert storms: when many alerts wait for one place, the next message tells of all of them, with a count."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import structlog

from notifier_service.models import Claimed
from notifier_service.wording import word
from notifier_service.wording.alert import with_more
from notifier_service.wording.parts import Wording
from service_kit.database import Database, DatabaseUnavailable, StatementTimeout
from service_kit.notifications import ALERT_TOPIC
from service_kit.queries import read_queries

FEWEST = 5
"""So many alerts that wait are a storm; fewer are soon told one by one."""
MOST = 2000
QUERIES = read_queries(__file__)
log = structlog.get_logger()


class Gathered(msgspec.Struct, frozen=True):
    """What a message says, and which other deliveries it tells of."""

    wording: Wording
    others: Sequence[int] = ()


class AlertStorms:
    """For channels that alerts go to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def gather(self, claimed: Claimed) -> Gathered:
        """The delivery in words, with those of the alerts that wait behind it in a storm.

        Raises NoWording, DatabaseUnavailable, StatementTimeout.
        """
        language = claimed.endpoint.language
        wording = word(claimed.topic, claimed.body, language, claimed.occurrences)
        if claimed.topic != ALERT_TOPIC:
            return Gathered(wording)
        rows = await self._database.fetch_all(
            QUERIES["waiting"],
            {"id": claimed.id, "endpoint_id": claimed.endpoint.id, "channel": claimed.endpoint.channel, "most": MOST},
        )
        if len(rows) < FEWEST:
            return Gathered(wording)
        kinds: Counter[tuple[str, str]] = Counter()
        for _id, service, error, occurrences in rows:
            kinds[service, error] += occurrences
        return Gathered(with_more(wording, kinds, language), [row[0] for row in rows])

    async def settle(self, claimed: Claimed, gathered: Gathered) -> None:
        """The message has arrived: what it told of need not be told again. Lost, they are told one by one."""
        if not gathered.others:
            return
        told = f"told of by delivery {claimed.id}, one of {len(gathered.others) + 1}"
        try:
            count = await self._database.execute(QUERIES["settle"], {"ids": list(gathered.others), "told": told})
        except (DatabaseUnavailable, StatementTimeout) as error:
            log.warning("alert_storm.unsettled", delivery_id=claimed.id, error=error.detail)
        else:
            log.info("alert_storm.told", delivery_id=claimed.id, count=count)

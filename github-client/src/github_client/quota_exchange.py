"""What one replica learns of GitHub's limits the others know within a second: one small table, told and asked often."""

import asyncio

import structlog

from github_client.clock import Clock
from github_client.credentials import OperatorCredentials
from github_client.quota import SAME_WINDOW_SECONDS, Budget, QuotaKeeper
from service_kit.database import Database
from service_kit.errors import Unavailable
from service_kit.queries import read_queries

INTERVAL_SECONDS = 0.3
"""One to tell, another's to hear of it, and the statements: together well under a second."""
LONG_AGO_SECONDS = -3600.0
QUERIES = read_queries(__file__)
log = structlog.get_logger()


class QuotaExchange:
    """One replica's share in the table `github_quota`."""

    def __init__(self, database: Database, keeper: QuotaKeeper, credentials: OperatorCredentials, clock: Clock) -> None:
        self._database = database
        self._keeper = keeper
        self._credentials = credentials
        self._clock = clock
        self._untold: dict[tuple[str, str], Budget] = {}

    async def run(self) -> None:
        """Exchange for ever. While Postgres is away this replica goes by what it knows, and tells it afterwards."""
        is_away = False
        while True:
            try:
                await self.exchange()
                is_away = False
            except Unavailable as error:
                if not is_away:
                    log.warning("quota.not_shared", error=error.detail)
                is_away = True
            await asyncio.sleep(INTERVAL_SECONDS)

    async def exchange(self) -> None:
        """Tell what was learnt here and learn what others told, in one statement. Raises as the database does."""
        self._untold |= {(identity, bucket): budget for identity, bucket, budget in self._keeper.take_changed()}
        told = [(identity, bucket, budget) for (identity, bucket), budget in self._untold.items()]
        now = self._clock.seconds()
        rows = await self._database.fetch_all(
            QUERIES["exchange"],
            {
                "credential": [identity for identity, _, _ in told],
                "bucket": [bucket for _, bucket, _ in told],
                "quota_limit": [budget.limit for _, _, budget in told],
                "remaining": [budget.remaining for _, _, budget in told],
                "reset_in": [max(budget.reset - now, LONG_AGO_SECONDS) for _, _, budget in told],
                "rests_in": [max(budget.rests_until - now, LONG_AGO_SECONDS) for _, _, budget in told],
                "reason": [budget.reason for _, _, budget in told],
                "strikes": [budget.strikes for _, _, budget in told],
                "same_window": SAME_WINDOW_SECONDS,
                "of": [credential.identity for credential in self._credentials.all()],
            },
        )
        for key in [(identity, bucket) for identity, bucket, _ in told]:
            del self._untold[key]
        now = self._clock.seconds()
        self._keeper.learn(
            (identity, bucket, Budget(limit, remaining, now + reset_in, now + rests_in, reason, strikes))
            for identity, bucket, limit, remaining, reset_in, rests_in, reason, strikes in rows
        )

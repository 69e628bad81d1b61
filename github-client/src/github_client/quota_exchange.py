"""What one replica learns of GitHub's limits the others know within a second: one small table, told and asked often."""

import asyncio
from collections.abc import Sequence
from typing import Any

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
        told = self._keeper.take_news()
        try:
            rows = await self._database.fetch_all(QUERIES["exchange"], self._parameters(told, self._clock.seconds()))
        except BaseException:
            for _, _, budget in told:
                budget.is_news = True
            raise
        now = self._clock.seconds()
        theirs = (
            (identity, bucket, Budget(limit, remaining, now + reset_in, now + rests_in, reason, strikes))
            for identity, bucket, limit, remaining, reset_in, rests_in, reason, strikes in rows
        )
        self._keeper.learn(theirs, now)

    def _parameters(self, told: Sequence[tuple[str, str, Budget]], now: float) -> dict[str, Any]:
        budgets = [budget for _, _, budget in told]
        return {
            "credential": [identity for identity, _, _ in told],
            "bucket": [bucket for _, bucket, _ in told],
            # A window that is only assumed is nothing to tell.
            "quota_limit": [budget.limit if budget.is_told else 0 for budget in budgets],
            "remaining": [budget.remaining for budget in budgets],
            "reset_in": [_seconds_until(budget.reset if budget.is_told else 0.0, now) for budget in budgets],
            "rests_in": [_seconds_until(budget.rests_until, now) for budget in budgets],
            "reason": [budget.reason for budget in budgets],
            "strikes": [budget.strikes for budget in budgets],
            "now": self._clock.for_sql(),
            "same_window": SAME_WINDOW_SECONDS,
            "of": [credential.identity for credential in self._credentials.all()],
        }


def _seconds_until(when: float, now: float) -> float:
    return max(when - now, LONG_AGO_SECONDS)

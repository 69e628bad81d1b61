"""Schedules: messages that are enqueued by cron; however many ticks were missed, one makes up for them."""

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import structlog
from cronsim import CronSim, CronSimError

from notifier_service.metrics import QueueMetrics
from notifier_service.own_connection import OwnConnection
from notifier_service.repeating import Repeating
from service_kit.queries import read_queries

INTERVAL_SECONDS = 1.0

QUERIES = read_queries(__file__)
log = structlog.get_logger()


def next_tick(cron: str, time_zone: str, after: datetime) -> datetime:
    """The first tick after `after` (aware). Raises ValueError for a cron or a time zone that is none.

    Debian cron's rules where the clock jumps: what falls into the hour that is left out happens right after it, what
    falls into the hour that comes twice happens once.
    """
    try:
        return next(CronSim(cron, after.astimezone(ZoneInfo(time_zone))))
    except (CronSimError, KeyError, StopIteration, OSError) as error:
        raise ValueError(f"not a cron of five fields in a known time zone: {cron} ({time_zone})") from error


class Scheduler:
    """Every replica has one; each tick is enqueued once."""

    def __init__(self, connection: OwnConnection, metrics: QueueMetrics) -> None:
        self._connection = connection
        self._metrics = metrics
        self._repeating = Repeating("schedule", self._tick, self._wait)
        self.run = self._repeating.run

    async def tick(self) -> int:
        """Enqueue what is due; return how many messages. Raises DatabaseUnavailable, StatementTimeout."""
        count = 0
        for name, cron, time_zone, tick, now in await self._connection.rows(QUERIES["due"]):
            try:
                next_at = next_tick(cron, time_zone, now)
            except ValueError as error:
                # Paused by whoever comes first, so that it is told of once and not each second by every replica.
                if await self._connection.rows(QUERIES["pause_unreadable"], {"name": name, "tick": tick}):
                    log.error("schedule.unreadable", name=name, error=str(error))
                continue
            rows = await self._connection.rows(QUERIES["tick"], {"name": name, "tick": tick, "next_at": next_at})
            count += len(rows)
        return count

    async def _tick(self) -> None:
        count = await self.tick()
        if count:
            self._metrics.ticks.inc(count)

    async def _wait(self) -> None:
        await asyncio.sleep(INTERVAL_SECONDS)

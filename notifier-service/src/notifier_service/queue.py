"""The queue in Postgres: the statements of queue.sql as methods. Each is one transaction."""

import os
import socket
from importlib.metadata import version
from typing import Any

from notifier_service.models import Claimed, Endpoint
from notifier_service.retry import MOST_ATTEMPTS, Step
from service_kit.database import Database
from service_kit.queries import read_queries

WAKE_UP_CHANNEL = "delivery"
"""What `enqueue_notification` notifies."""
LEASE_SECONDS = 10.0
"""Above the deadline of a send, 5 s. With upkeep's 2 s and a poll's 1 s a killed worker's rows start again in 13 s."""
RETENTION_DAYS = 14
"""How long messages and records are kept, and with them deduplication keys."""
FORGET_BATCH = 1000
FAN_OUT_CHUNK = 5000

QUERIES = read_queries(__file__)


class Queue:
    """One worker's access to the queue. Every method raises DatabaseUnavailable or StatementTimeout."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.worker: int | None = None

    async def register(self) -> int:
        """This worker's number in the table `worker`."""
        if self.worker is None:
            row = await self._database.fetch_one(
                QUERIES["register"],
                {"host": socket.gethostname(), "pid": os.getpid(), "version": version("wegit-notifier-service")},
            )
            assert row is not None
            self.worker = int(row[0])
        return self.worker

    async def fan_out(self) -> int | None:
        """Make the next deliveries of a message; return how many, None when no message waits for its subscribers."""
        row = await self._database.fetch_one(QUERIES["fan_out"], {"limit": FAN_OUT_CHUNK})
        return None if row is None else int(row[1])

    async def claim(self, channel: str, limit: int) -> list[Claimed]:
        """Take at most `limit` due deliveries of a channel under a lease."""
        rows = await self._database.fetch_all(
            QUERIES["claim"],
            {
                "channel": channel,
                "limit": limit,
                "worker": await self.register(),
                "lease_seconds": LEASE_SECONDS,
            },
        )
        return [
            Claimed(id, attempt, message, topic, body, count, at, Endpoint(endpoint, to, None, None, *rest), failures)
            for id, attempt, message, topic, body, count, at, failures, endpoint, to, *rest in rows
        ]

    async def settle(self, delivery: Claimed, step: Step, duration_ms: int) -> bool:
        """Move a claimed delivery as `step` says and record the try; False when it is no longer ours to move."""
        parameters: dict[str, Any] = {
            "id": delivery.id,
            "attempt": delivery.attempt,
            "outcome": step.outcome,
            "http_status": step.http_status,
            "duration_ms": duration_ms,
            "error": step.error,
        }
        if step.retry_in_seconds is None:
            return await self._database.execute(QUERIES["finish"], parameters) == 1
        parameters["retry_in_seconds"] = step.retry_in_seconds
        return await self._database.execute(QUERIES["put_off"], parameters) == 1

    async def hand_back(self, channel: str) -> int:
        """Make what this worker holds of a channel ready for others; return how many."""
        return await self._database.execute(QUERIES["hand_back"], {"worker": self.worker, "channel": channel})

    async def rescue(self) -> list[tuple[int, str]]:
        """Take deliveries from workers whose lease ran out; return (delivery, `lost` or `dead`)."""
        rows = await self._database.fetch_all(
            QUERIES["rescue"],
            {"most_attempts": MOST_ATTEMPTS, "error": "the worker vanished before it was finished"},
        )
        return [(int(row[0]), str(row[1])) for row in rows]

    async def forget(self) -> int:
        """Delete one batch of what is older than the retention; return how many rows (0: nothing left)."""
        parameters = {"days": RETENTION_DAYS, "limit": FORGET_BATCH}
        records = await self._database.execute(QUERIES["forget_records"], parameters)
        messages = await self._database.execute(QUERIES["forget_messages"], parameters)
        return records + messages

"""One worker's hands on the queue, to be moved a statement at a time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from notifier_service.claim_answer import Batch
from notifier_service.completion import Completion
from notifier_service.endpoints import Endpoints
from notifier_service.fan_out import FanOut
from notifier_service.heartbeat import Heartbeat
from notifier_service.metrics import QueueMetrics
from notifier_service.models import Answer, Claimed, Unreachable
from notifier_service.own_connection import OwnConnection
from notifier_service.queue import PLANNER, Queue
from notifier_service.rescue import Rescue
from notifier_service.retry import next_step
from notifier_service.schedule import Scheduler
from service_kit.database import Database
from service_kit.encryption import Encryption


class QueueWorker:
    """What a process does, without its loops. `reported` keeps exceptions that nobody expected."""

    def __init__(self, database: Database, channel: str) -> None:
        self._channel = channel
        self.database = database
        self.connection = OwnConnection(database, PLANNER)
        self.beats = OwnConnection(database)
        self.registry = CollectorRegistry()
        self.metrics = QueueMetrics(self.registry)
        self.reported: list[BaseException] = []
        self.queue = Queue(
            self.connection, Endpoints(self.connection, Encryption(SecretStr("k" * 32), "endpoints")), channel
        )
        self.completion = Completion(self.connection, self.metrics, channel, self.reported.append)
        self.heartbeat = Heartbeat(self.beats, lambda: list(self.completion.held), _nothing)
        self.fan_out = FanOut(self.connection, self.metrics, _nothing)
        self.rescue = Rescue(self.connection, self.metrics, _nothing)
        self.scheduler = Scheduler(self.connection, self.metrics)

    @property
    def id(self) -> int:
        """`worker.id`."""
        return self.heartbeat.worker

    async def claim(self, limit: int = 10) -> Batch:
        """Fan out what waits, and claim."""
        await self.fan_out.fan_out()
        batch = await self.queue.claim(self.id, limit)
        for claimed in batch.ready:
            self.completion.held[claimed.id] = claimed.claimed_at
        return batch

    def add(self, claimed: Claimed, ending: Answer | Unreachable, duration_ms: int = 35) -> None:
        """Note how a try ended; the next `settle` writes it."""
        step = next_step(ending, claimed.failures + 1, claimed.age_seconds)
        self.completion.add(claimed, step, duration_ms)

    async def settle(self, claimed: Claimed, ending: Answer | Unreachable, duration_ms: int = 35) -> int:
        """Write how a try ended; how many rows were no longer ours."""
        self.add(claimed, ending, duration_ms)
        before = self.fenced
        await self.completion.flush()
        return self.fenced - before

    @property
    def fenced(self) -> int:
        """How many endings came too late."""
        labels = {"channel": self._channel}
        return int(self.registry.get_sample_value("delivery_fenced_total", labels) or 0)

    def close(self) -> None:
        """As a process that is killed: its connections end, and nobody hands anything back."""
        self.connection.close()
        self.beats.close()


def _nothing() -> None:
    pass


@asynccontextmanager
async def queue_worker(url: str, channel: str = "slack") -> AsyncIterator[QueueWorker]:
    """A worker that has registered, with a database of its own connections."""
    database = Database(SecretStr(url), "test")
    await database.open()
    worker = QueueWorker(database, channel)
    try:
        await worker.heartbeat.beat()
        yield worker
    finally:
        worker.close()
        await database.close()

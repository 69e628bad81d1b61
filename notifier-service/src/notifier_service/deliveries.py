"""Everything that delivers, put together: one process's part in the queue, from its first beat to its last."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from notifier_service import completion, fan_out
from notifier_service.channels import Channel
from notifier_service.completion import Completion
from notifier_service.dispatcher import Dispatcher
from notifier_service.endpoints import Endpoints
from notifier_service.fan_out import FanOut
from notifier_service.heartbeat import Heartbeat
from notifier_service.listener import Listener
from notifier_service.maintenance import BEGIN, STATEMENT_SECONDS, Maintenance
from notifier_service.metrics import Gauging, QueueMetrics
from notifier_service.own_connection import OwnConnection
from notifier_service.queue import PLANNER, Queue
from notifier_service.rescue import Rescue
from notifier_service.schedule import Scheduler
from service_kit.database import Database
from service_kit.encryption import Encryption
from service_kit.health import Check
from service_kit.tasks import running

COLLECTION_THRESHOLD = 20_000
"""New objects until the collector looks for cycles among them: a claim makes some thousand, and no cycle."""


class Deliveries:
    """Delivers on the channels while `running` is open."""

    def __init__(
        self,
        database: Database,
        channels: Sequence[Channel],
        encryption: Encryption,
        metrics: QueueMetrics,
        report: Callable[[BaseException], None],
    ) -> None:
        """`report` takes exceptions that nobody expected."""
        self._connections: list[OwnConnection] = []

        def connect(name: str, *begin: str, timeout_seconds: float | None = None) -> OwnConnection:
            count = metrics.connects.labels(name).inc
            connection = OwnConnection(database, *begin, timeout_seconds=timeout_seconds, on_connect=count)
            self._connections.append(connection)
            return connection

        completions = {
            channel.name: Completion(connect("complete", completion.PLANNER), metrics, channel.name, report)
            for channel in channels
        }
        self._heartbeat = Heartbeat(
            connect("heartbeat"),
            lambda: [id_ for completion in completions.values() for id_ in completion.held],
            self.wake_dispatchers,
        )
        self._dispatchers: list[Dispatcher] = []
        for channel in channels:
            claims = connect("claim", PLANNER)
            queue = Queue(claims, Endpoints(claims, encryption), channel.name)
            self._dispatchers.append(
                Dispatcher(channel, queue, completions[channel.name], self._heartbeat, metrics, report)
            )
        upkeep = connect("upkeep")
        self._fan_out = FanOut(connect("fan_out", PLANNER, fan_out.BEGIN), metrics, self.wake_dispatchers)
        self._rescue = Rescue(upkeep, metrics, self.wake_dispatchers)
        self._scheduler = Scheduler(upkeep, metrics)
        self._gauging = Gauging(upkeep, metrics, [channel.name for channel in channels])
        self._maintenance = Maintenance(connect("maintenance", *BEGIN, timeout_seconds=STATEMENT_SECONDS))
        self._listener = Listener(database, self._fan_out.wake)

    def wake_dispatchers(self) -> None:
        """Look for due deliveries now."""
        for dispatcher in self._dispatchers:
            dispatcher.wake()

    @property
    def checks(self) -> dict[str, Check]:
        """What readiness asks."""
        dispatching = {f"deliveries.{one.name}": Check(one.is_well, essential=True) for one in self._dispatchers}
        return {
            **dispatching,
            "heartbeat": Check(self._heartbeat.is_well, essential=True),
            "fan_out": Check(self._fan_out.is_well, essential=True),
            "rescue": Check(self._rescue.is_well, essential=True),
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver while the context is open; at its end finish what is under way and hand back the rest."""
        async with AsyncExitStack() as stack:
            stack.callback(self._close)
            stack.enter_context(_collecting_seldom())
            await stack.enter_async_context(self._heartbeat.beating())
            for name, work in (
                ("fan_out", self._fan_out.run),
                ("rescue", self._rescue.run),
                ("schedule", self._scheduler.run),
                ("gauges", self._gauging.run),
                ("maintenance", self._maintenance.run),
                ("listen", self._listener.run),
            ):
                await stack.enter_async_context(running(name, work))
            for dispatcher in self._dispatchers:
                await stack.enter_async_context(dispatcher.working())
            try:
                yield
            finally:
                self._heartbeat.drain()
                await asyncio.gather(*(dispatcher.drain() for dispatcher in self._dispatchers))

    def _close(self) -> None:
        for connection in self._connections:
            connection.close()


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Spare the collector what is there now, which stays; looking through it would be an eighth of a busy worker."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(COLLECTION_THRESHOLD)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()

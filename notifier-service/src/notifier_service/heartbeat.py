"""Heartbeat: one row a process that tells the others that what it holds is in good hands."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

import structlog

from notifier_service.own_connection import OwnConnection
from notifier_service.queue import LEASE_SECONDS
from notifier_service.repeating import Repeating
from service_kit.database import DatabaseUnavailable, StatementTimeout
from service_kit.queries import read_queries
from service_kit.tasks import running

BEAT_INTERVAL_SECONDS = 1.0
SILENCE_LIMIT_SECONDS = 8.0
"""Without a beat for so long nothing more is sent: others take this worker for dead after 10 s."""
CUT_LIMIT_SECONDS = 2.0
"""The same when its connection is lost: others then take it for dead after 3 s."""
RENEW_INTERVAL_SECONDS = 10.0
KNOWN_AFTER_SECONDS = 25.0
"""What was claimed so long ago and is not known to be held, never will be: above what a claim may take, three
statements (rows, endpoints, slots) of 5 s, and a lost connection opened anew in 5 s; below LEASE_SECONDS."""
LOCK_NAMESPACE = 0x57654769
"""The advisory locks of workers: a number that nobody else in this database takes, and the worker's id."""

QUERIES = read_queries(__file__)
log = structlog.get_logger()


class Heartbeat:
    """This process among the workers. `held` gives the ids of the deliveries that it has."""

    def __init__(
        self, connection: OwnConnection, held: Callable[[], Collection[int]], revived: Callable[[], None]
    ) -> None:
        """`revived` is called when there may be sent again."""
        self._connection = connection
        self._held = held
        self._revived = revived
        self._worker: int | None = None
        self._beaten_at = float("-inf")
        self._is_cut = True
        self._renew_at = 0.0
        self._is_draining = False
        self._repeating = Repeating("heartbeat", self.beat, self._wait)
        self.is_well = self._repeating.is_well

    @property
    def worker(self) -> int:
        """This worker's number; there is one whenever `may_send` holds."""
        assert self._worker is not None
        return self._worker

    def may_send(self) -> bool:
        """Whether the others still take this worker for living, with some time to spare."""
        silence = time.monotonic() - self._beaten_at
        return silence < (CUT_LIMIT_SECONDS if self._is_cut else SILENCE_LIMIT_SECONDS)

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat while the context is open; at its end hand back what is still held, and leave."""
        async with running("heartbeat", self._repeating.run):
            yield
        with suppress(DatabaseUnavailable, StatementTimeout, TimeoutError):
            async with asyncio.timeout(1.0):
                if self._worker is not None:
                    [(freed,)] = await self._connection.rows(QUERIES["leave"], {"worker": self._worker})
                    log.info("worker.left", worker=self._worker, handed_back=freed)

    def drain(self) -> None:
        """Tell the others, with the next beat, that this worker is stopping."""
        self._is_draining = True

    def renew_at_once(self) -> None:
        """Renew leases with the next beat."""
        self._renew_at = 0.0

    async def beat(self) -> None:
        """Register where that is to be done, and beat. Raises DatabaseUnavailable, StatementTimeout."""
        started = time.monotonic()
        try:
            if self._worker is None:
                self._worker = await self._register()
            rows = await self._connection.rows(
                QUERIES["beat"], {"worker": self._worker, "draining": self._is_draining}, *self._hold()
            )
        except (DatabaseUnavailable, StatementTimeout):
            self._is_cut = True
            raise
        if not rows:
            log.warning("worker.taken_for_dead", worker=self._worker)
            self._worker = await self._register()
            return
        was_silent = not self.may_send()
        self._is_cut = False
        self._beaten_at = started
        if was_silent:
            self._revived()
        if started >= self._renew_at:
            await self._renew()
            self._renew_at = started + RENEW_INTERVAL_SECONDS

    def _hold(self) -> list[tuple[str, None]]:
        """The lock is the connection's, and taking it again does no harm: but once for each connection is enough."""
        sql = QUERIES["hold"].format(namespace=LOCK_NAMESPACE, worker=self._worker)
        return [(sql, None)]

    async def _register(self) -> int:
        [(worker,)] = await self._connection.rows(
            QUERIES["register"],
            {"host": socket.gethostname(), "pid": os.getpid(), "version": version("wegit-notifier-service")},
        )
        return int(worker)

    async def _renew(self) -> None:
        rows = await self._connection.rows(
            QUERIES["renew"],
            {
                "worker": self._worker,
                "held": list(self._held()),
                "lease_seconds": LEASE_SECONDS,
                "known_after_seconds": KNOWN_AFTER_SECONDS,
            },
        )
        strays = sum(1 for (is_held,) in rows if not is_held)
        if strays:
            log.warning("deliveries.found", count=strays)

    async def _wait(self) -> None:
        await asyncio.sleep(BEAT_INTERVAL_SECONDS)

"""Admission: how many requests may be with a service at once; a few wait, briefly, and the rest are told so at once."""

import asyncio
from collections import deque
from types import TracebackType

from gateway.routes import Service
from service_kit.errors import Overloaded

UNDER_WAY_LIMIT = 256
"""Requests with one service; what it does not work on by then, it queues, and makes all of them late."""
WAITING_LIMIT = 64
WAIT_SECONDS = 0.25
RETRY_AFTER_SECONDS = 1


class Gate:
    """One service's door: `async with gate:` around a request to it. Raises Overloaded, after WAIT_SECONDS at most.

    Each service has its own, so that a slow one cannot use up what the others need.
    """

    def __init__(
        self, service: Service, under_way_limit: int = UNDER_WAY_LIMIT, waiting_limit: int = WAITING_LIMIT
    ) -> None:
        self.service = service
        self.under_way_limit = under_way_limit
        self.under_way = 0
        self.refused = 0
        """Requests turned away since the start."""
        self._waiting_limit = waiting_limit
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many stand before the door."""
        return len(self._waiting)

    async def __aenter__(self) -> None:
        if self.under_way < self.under_way_limit:
            self.under_way += 1
            return
        if len(self._waiting) >= self._waiting_limit:
            raise self._overloaded()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
        except TimeoutError:
            self._step_back(turn)
            raise self._overloaded() from None
        except asyncio.CancelledError:
            self._step_back(turn)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the place is handed on, so nobody who comes now is before those who waited
                return
        self.under_way -= 1

    def _step_back(self, turn: asyncio.Future[None]) -> None:
        if turn.cancelled():
            self._waiting.remove(turn)
        else:
            self._leave()  # the turn had just come

    def _overloaded(self) -> Overloaded:
        self.refused += 1
        return Overloaded(f"The {self.service} has as much to do as it can.", retry_after_seconds=RETRY_AFTER_SECONDS)


class Admission:
    """The gates of all services."""

    def __init__(self) -> None:
        self.gates = {service: Gate(service) for service in Service}

    def enter(self, service: Service) -> Gate:
        """The service's gate, to be passed with `async with`."""
        return self.gates[service]

"""Admission: how many requests may be with a service at once; a few wait, briefly, and the rest are told so at once."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress

from gateway.headers import Fields, with_one_reading
from gateway.hop.answer import HopAnswer
from gateway.http_date import http_date
from gateway.routes import Service
from service_kit.errors import Overloaded, ServiceError

UNDER_WAY_LIMIT = 256
"""Requests with one service; what it does not work on by then, it queues, and makes all of them late."""
WAITING_LIMIT = 64
WAIT_SECONDS = 0.25
CALLER_LIMIT = 32
"""Requests with one service that are one caller's: who takes no answer off keeps its place for as long as he may."""
RETRY_AFTER_SECONDS = 1


class TooManyAtOnce(ServiceError):
    """One caller asks more of one service at a time than may be his share."""

    status = 429
    code = "too_many_at_once"


class Gate:
    """One service's door; each has its own, so that a slow one cannot use up what the others need."""

    def __init__(
        self, service: Service, under_way_limit: int = UNDER_WAY_LIMIT, waiting_limit: int = WAITING_LIMIT
    ) -> None:
        self.service = service
        self.under_way_limit = under_way_limit
        self.under_way = 0
        self.refused = 0
        """Requests turned away since the start."""
        self._by_caller: dict[str, int] = {}
        self._waiting_limit = waiting_limit
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many stand before the door."""
        return len(self._waiting)

    def try_enter(self, caller: str) -> bool:
        """Take a place if there is one to be had at once, as there mostly is."""
        of_caller = self._by_caller.get(caller, 0)
        if self.under_way >= self.under_way_limit or of_caller >= CALLER_LIMIT:
            return False
        self._by_caller[caller] = of_caller + 1
        self.under_way += 1
        return True

    async def enter(self, caller: str) -> None:
        """Take a place, within WAIT_SECONDS; `leave` gives it back, at the answer's end.

        `caller` is an address as `rate_limits.network_of` gives it. Raises Overloaded or TooManyAtOnce.
        """
        of_caller = self._by_caller.get(caller, 0)
        if of_caller >= CALLER_LIMIT:
            self.refused += 1
            raise TooManyAtOnce(
                f"At most {CALLER_LIMIT} requests to the {self.service} are worked on for you at once.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        self._by_caller[caller] = of_caller + 1
        try:
            await self._take_place()
        except BaseException:
            self._count_out(caller)
            raise

    def leave(self, caller: str) -> None:
        """Give a place back."""
        self._count_out(caller)
        self._give_place()

    async def _take_place(self) -> None:
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

    def _count_out(self, caller: str) -> None:
        left = self._by_caller[caller] - 1
        if left:
            self._by_caller[caller] = left
        else:
            del self._by_caller[caller]

    def _give_place(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the place is handed on, so nobody who comes now is before those who waited
                return
        self.under_way -= 1

    def _step_back(self, turn: asyncio.Future[None]) -> None:
        if turn.cancelled():
            with suppress(ValueError):  # who left since then has passed it over
                self._waiting.remove(turn)
        else:
            self._give_place()  # the turn had just come

    def _overloaded(self) -> Overloaded:
        self.refused += 1
        return Overloaded(f"The {self.service} has as much to do as it can.", retry_after_seconds=RETRY_AFTER_SECONDS)


class Admitted:
    """A service's answer, which keeps its caller's place with the service until it is closed."""

    __slots__ = ("_caller", "_gate", "_given", "_is_closed", "content_length", "headers", "status")

    def __init__(self, given: HopAnswer, gate: Gate, caller: str) -> None:
        """`take_head` is to be called when the head has come."""
        self._given = given
        self._gate = gate
        self._caller = caller
        self._is_closed = False
        self.status = 0
        self.headers: Fields = []
        """As `HopAnswer.headers`, with one reading."""
        self.content_length: int | None = None

    def take_head(self, given: HopAnswer) -> None:
        """The head has come, of this answer, which need not be that of the first try."""
        self._given = given
        self.status = given.status
        self.headers = with_one_reading(given.headers, http_date())
        self.content_length = given.content_length

    @property
    def is_complete(self) -> bool:
        """Whether every byte of it has come."""
        return self._given.is_complete

    def take(self) -> bytes:
        """As `HopAnswer.take`."""
        return self._given.take()

    async def read(self, limit_bytes: int) -> bytes:
        """As `HopAnswer.read`."""
        return await self._given.read(limit_bytes)

    def chunks(self) -> AsyncIterator[bytes]:
        """As `HopAnswer.chunks`."""
        return self._given.chunks()

    def close(self) -> None:
        """Nobody wants more of it."""
        if not self._is_closed:
            self._is_closed = True
            self._given.close()
            self._gate.leave(self._caller)


class Admission:
    """The gates of all services."""

    def __init__(self) -> None:
        self.gates = {service: Gate(service) for service in Service}

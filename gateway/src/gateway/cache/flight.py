"""A question that is asked of a service for everybody: what it is, who waits for it, and what comes of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple, Protocol

from gateway.cache.entry import Entry


class Given(Protocol):
    """A service's answer, its body yet to be read (`hop.answer.HopAnswer`)."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    @property
    def content_length(self) -> int | None: ...
    @property
    def is_complete(self) -> bool: ...
    def take(self) -> bytes: ...
    async def read(self, limit_bytes: int) -> bytes: ...
    def chunks(self) -> AsyncIterator[bytes]: ...
    def close(self) -> None: ...


class Question(NamedTuple):
    """What is asked of a service for everybody, and what its answer depends on."""

    target: str
    """As `key.shared_target` made it."""
    accept: str
    ask: Callable[[list[tuple[str, str]]], Awaitable[Given]]
    """Asks the service, with these headers besides; raises the errors of `Hop.send`."""
    may_keep: bool = True
    unasked: Callable[[], None] | None = None
    """Called when it was given up before it was asked."""


class Fetched(NamedTuple):
    """What came of a question: an entry for all who asked it, or an answer that one caller alone may have."""

    entry: Entry | None = None
    given: Given | None = None
    is_stored: bool = False
    is_stale: bool = False
    """The entry is an old one, as no better answer could be had."""
    is_collapsed: bool = False
    """Somebody else's question brought it."""


class Flight:
    """A question under way, and who waits for its answer."""

    __slots__ = ("failure", "fetched", "is_led", "is_taken", "key", "task", "waiting")

    def __init__(self, key: tuple[str, str]) -> None:
        self.key = key
        """Target and `Accept`."""
        self.task: asyncio.Task[None] | None = None
        self.waiting: list[asyncio.Future[None]] = []
        self.is_led = False
        """Whether who departed is still to take its answer in."""
        self.fetched: Fetched | None = None
        self.failure: BaseException | None = None
        self.is_taken = False

    @property
    def wanted_by(self) -> int:
        """How many wait for the answer."""
        return len(self.waiting) + self.is_led

    @property
    def has_landed(self) -> bool:
        """Whether there is an answer, or a reason why there is none."""
        return self.fetched is not None or self.failure is not None

    def take(self) -> bool:
        """Whether the answer that one alone may have is the asker's."""
        is_first = not self.is_taken
        self.is_taken = True
        return is_first

"""One connection to one replica: an exchange at a time, sent in one write, read no faster than it is taken."""

import asyncio
from collections.abc import Callable
from typing import cast

from gateway.hop.answer import HopAnswer
from gateway.outbox import Outbox


class Connection(asyncio.Protocol):
    """A client's HTTP/1.1 connection. Its pool hears when it is free again and when it is gone."""

    __slots__ = (
        "_answer",
        "_is_paused",
        "_on_free",
        "_on_lost",
        "_outbox",
        "_transport",
        "free_since",
        "has_served",
        "is_lost",
        "loop",
    )

    def __init__(
        self, on_free: Callable[["Connection"], None], on_lost: Callable[["Connection"], None], outbox: Outbox
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._outbox = outbox
        self._on_free = on_free
        self._on_lost = on_lost
        self._answer: HopAnswer | None = None
        self._transport: asyncio.Transport
        self._is_paused = False
        self.free_since = 0.0
        """Loop time; kept by the pool."""
        self.has_served = False
        """Whether an exchange went well before: then its end may be its age, and not the replica's state."""
        self.is_lost = False

    def send(self, request: bytes, answer: HopAnswer) -> None:
        """Send a request; `answer` takes what comes back."""
        self._answer = answer
        self._outbox.write(self._transport, request)

    def finish(self, *, reusable: bool) -> None:
        """The answer is whole. What is still unsent of its request would be read as the beginning of the next one."""
        self._answer = None
        self.has_served = True
        if reusable and not self.is_lost and self._transport.get_write_buffer_size() == 0:
            self._on_free(self)
        else:
            self.abort()

    def pause_reading(self) -> None:
        """Read nothing more for now; the replica's own buffers fill up, and it waits."""
        if not self._is_paused and not self.is_lost:
            self._is_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        if self._is_paused and not self.is_lost:
            self._is_paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """End it at once; its answer hears nothing more."""
        self._answer = None
        self._transport.abort()

    # What follows is called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods only

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.abort()  # bytes that nobody asked for would be taken for the next answer
        else:
            self._answer.data_received(data)

    def eof_received(self) -> None:
        if self._answer is not None:
            self._answer.eof_received()

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_lost = True
        if self._answer is not None:
            self._answer.connection_lost()
        self._on_lost(self)

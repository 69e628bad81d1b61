"""One answer of a service, from the moment it is asked for until its last byte is taken or nobody wants it."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from gateway.hop.answer_parser import AnswerParser, BrokenAnswer
from service_kit.errors import UpstreamFault, UpstreamTimeout, UpstreamUnreachable

if TYPE_CHECKING:
    from gateway.hop.connection import Connection

IDLE_TIMEOUT_SECONDS = 30.0
"""Between two parts of an answer's body."""
BUFFER_LIMIT_BYTES = 256 * 1024
"""Of a body that its reader has not taken yet; beyond, nothing more is read from the replica."""


class ConnectionWentStale(UpstreamUnreachable):
    """A kept connection ended before any of an answer came: perhaps it was being closed just then (RFC 9112, 9.3.1)."""


class HopAnswer:
    """Status, headers and body. Whoever has one reads it to its end, or closes it.

    `headers` are as they came: those of one connection only are for `headers.answer_headers` to leave out.
    """

    __slots__ = (
        "_body_end",
        "_connection",
        "_on_end",
        "_on_head",
        "_parser",
        "_waiter",
        "began_at",
        "content_length",
        "end",
        "failure",
        "headers",
        "is_complete",
        "on_progress",
        "status",
    )

    def __init__(
        self,
        connection: "Connection",
        method: str,
        on_end: Callable[["HopAnswer"], None],
        on_head: Callable[["HopAnswer"], None] | None = None,
    ) -> None:
        """`on_head` is called when its head has come; `on_end` once: it is whole, broken (see `failure`) or closed."""
        self._connection: Connection | None = connection
        self._parser = AnswerParser(method)
        self._on_end = on_end
        self._on_head = on_head
        self.on_progress: Callable[[], None] | None = None
        """Called for who does not wait: more of it has come, or it has failed."""
        self._waiter: asyncio.Future[None] | None = None
        self.failure: UpstreamFault | None = None
        """Why there will be no more of it, if that is the replica's doing."""
        self.began_at = 0.0
        """Loop time."""
        self.end = math.inf
        """Loop time at which whoever waits now has waited too long; one timer for all of them looks at it."""
        self._body_end = math.inf
        self.status = 0
        """0 until its head has come."""
        self.headers: list[tuple[str, str]] = []
        self.content_length: int | None = None
        """As the head says it; None where the length is known only at the end."""
        self.is_complete = False
        """Whether every byte has come; they may not all be taken yet."""

    async def wait_for_head(self, end: float) -> None:
        """Until `end` (loop time), by which `read` must be done as well.

        Raises UpstreamUnreachable, UpstreamFault (no HTTP) or UpstreamTimeout; cancelled, it ends the exchange.
        """
        self._body_end = end
        if self._parser.has_head:
            self.end = math.inf
        else:
            await self._wait(end)

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        return self._parser.take()

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises UpstreamFault when it is cut or larger, UpstreamTimeout when the time is over."""
        parser = self._parser
        if parser.is_complete and parser.buffered_bytes <= limit_bytes:
            return parser.take()
        body = bytearray()
        while part := await self._next_part(self._body_end):
            body += part
            if len(body) > limit_bytes:
                self.close()
                raise UpstreamFault(f"The answer is larger than {limit_bytes} bytes.")
        return bytes(body)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises UpstreamFault when it is cut, UpstreamTimeout when nothing comes for 30 s."""
        loop = asyncio.get_running_loop()
        try:
            while part := await self._next_part(loop.time() + IDLE_TIMEOUT_SECONDS):
                yield part
        finally:
            self.close()

    def close(self) -> None:
        """Nobody wants the rest: the connection ends with it, unless the answer is whole."""
        connection = self._connection
        if connection is not None:
            self._connection = None
            connection.abort()
            self._on_end(self)

    async def _next_part(self, end: float) -> bytes:
        """What has come, at least a byte; empty at the body's end."""
        parser = self._parser
        while not parser.parts:
            if parser.is_complete:
                return b""
            await self._wait(end)
        part = parser.take()
        if self._connection is not None:
            self._connection.resume_reading()
        return part

    async def _wait(self, end: float) -> None:
        if self._connection is None:
            raise self.failure or UpstreamFault("The answer was closed.")
        self._waiter = self._connection.loop.create_future()
        self.end = end
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = None
            self.end = math.inf

    def run_out_of_time(self) -> None:
        """Its `end` has passed."""
        self.fail(UpstreamTimeout("The answer did not come in time."))

    # What follows is called by the connection.

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer."""
        parser = self._parser
        try:
            parser.feed(data)
        except BrokenAnswer as error:
            self.fail(UpstreamFault(f"The answer is not to be trusted: {error}."))
            return
        self._note_progress()

    def eof_received(self) -> None:
        """The replica ended the connection in order: an answer without a length ends so."""
        try:
            self._parser.feed_eof()
        except BrokenAnswer:
            self.connection_lost()
            return
        self._note_progress()

    def connection_lost(self) -> None:
        """The connection is gone with the answer unfinished."""
        if self._parser.has_head:
            self.fail(UpstreamFault("The answer broke off."))
        elif self._connection is not None and self._connection.has_served and not self._parser.has_begun:
            self.fail(ConnectionWentStale("The connection had been closed."))
        else:
            self.fail(UpstreamUnreachable("The connection broke before there was an answer."))

    def fail(self, failure: UpstreamFault) -> None:
        """End it for a reason that whoever waits is told, after what has come by then."""
        if self._connection is None:
            return
        self.failure = failure
        self.close()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(failure)
        elif self.on_progress is not None:
            self.on_progress()

    def _note_progress(self) -> None:
        parser = self._parser
        connection = self._connection
        assert connection is not None
        if self.status == 0 and parser.has_head:
            self.status, self.headers, self.content_length = parser.status, parser.headers, parser.content_length
            if self._on_head is not None:
                self._on_head(self)
        if parser.is_complete:
            self.is_complete = True
            self._connection = None
            connection.finish(reusable=parser.keeps_alive)
            self._on_end(self)
        elif parser.buffered_bytes > BUFFER_LIMIT_BYTES:
            connection.pause_reading()
        waiter = self._waiter
        if waiter is not None:
            if parser.has_head and not waiter.done():
                waiter.set_result(None)
        elif self.on_progress is not None and parser.has_head:
            self.on_progress()

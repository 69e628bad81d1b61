"""One request under way: what was asked, on which connection, and what has to be known of it once it is over."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import HttpVersion, HttpVersion11, StreamReader
from multidict import CIMultiDictProxy

from gateway.connections import Connection
from gateway.outbox import Outbox

if TYPE_CHECKING:
    from gateway.passing import Miss

UNMATCHED = "unmatched"
LEFT = 499
"""The status in log and metrics of a caller who left before the answer, as nginx has it."""


class Exchange:
    """A request, and how far its answer is."""

    __slots__ = (
        "added",
        "address",
        "begun",
        "body",
        "connection",
        "headers",
        "keeps_alive",
        "method",
        "on_close",
        "path",
        "query",
        "request_id",
        "route",
        "sent_bytes",
        "source",
        "started",
        "target",
        "version",
        "wants_more",
    )

    def __init__(
        self,
        connection: Connection,
        method: str,
        target: str,
        headers: CIMultiDictProxy[str],
        version: HttpVersion,
        *,
        wants_more: bool,
        body: StreamReader | None = None,
    ) -> None:
        """`target` is as it came, undecoded; `wants_more` is whether the caller may send another request after it."""
        self.connection = connection
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.version = version
        self.request_id = ""
        self.wants_more = wants_more
        self.body = body
        """What is yet to be read of it; None where the request has none."""
        self.route = UNMATCHED
        self.address = self.source = ""
        """The caller's address, and the same with the trusted proxies it came through; known once it is charged."""
        self.started = time.monotonic()
        self.added = ""
        """Header lines that the answer is to have whatever it is."""
        self.begun: Miss | None = None
        """What has been asked of a service for it already."""
        self.on_close: Callable[[], None] | None = None
        self.keeps_alive = False
        """Whether the connection may take another request; known once the answer's head is made."""
        self.sent_bytes = 0

    @property
    def is_charged(self) -> bool:
        """Whether it has been charged to its caller."""
        return self.address != ""

    def connection_line(self, *, has_end: bool = True) -> str:
        """The field line that says what becomes of the connection; empty where HTTP's version says it."""
        # What is left of a body that nobody wants would have to be read before another request could be.
        is_read = self.body is None or self.body.is_eof()
        self.keeps_alive = has_end and is_read and self.wants_more and self.connection.stays
        if not self.keeps_alive:
            return "Connection: close\r\n"
        return "" if self.version == HttpVersion11 else "Connection: keep-alive\r\n"

    def write(self, data: bytes, outbox: Outbox | None = None) -> None:
        """Send the next bytes of the answer, by way of an outbox if there is one.

        Raises ConnectionResetError when the caller is gone.
        """
        transport = self.connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller is gone")
        if outbox is None:
            transport.write(data)
        else:
            outbox.write(transport, data)
        self.sent_bytes += len(data)

    def close(self) -> None:
        """Leave nothing open behind it."""
        if self.on_close is not None:
            self.on_close()

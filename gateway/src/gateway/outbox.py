"""Writes of one turn of the event loop, made together at its end."""

import asyncio

LIMIT_BYTES = 256 * 1024
"""Of writes that wait; with more they are made at once, so that a connection that takes no more is noticed."""


class Outbox:
    """Takes writes, and makes them when everything that has come in has been looked at.

    A write wakes who reads at the other end, and that costs more than the write, most of all in a virtual machine; of
    writes in a row the first wakes him, and the rest find him awake.
    """

    def __init__(self) -> None:
        """Needs a running loop."""
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []
        self._size_bytes = 0

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write, at this turn's end at the latest; nothing, if the transport is closed by then."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append((transport, data))
        self._size_bytes += len(data)
        if self._size_bytes > LIMIT_BYTES:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting, self._size_bytes = self._waiting, [], 0
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)

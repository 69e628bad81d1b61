"""An open-loop load driver: requests are due at fixed moments, whether those before them are answered or not.

A latency counts from the moment a request was due, not from when a connection was free for it: a server that stands
still for a moment is charged for everything that would have come meanwhile (no coordinated omission).
"""

import asyncio
import gc
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import cast

from benchmarks.driver import HEAD_END, LENGTH, Load, UnexpectedAnswer

TICK_SECONDS = 0.0005
"""How often it looks what is due; as late as this a request may be sent, and that counts as the server's."""


async def drive_at(
    host: str, port: int, requests: Iterator[bytes], *, rate: float, seconds: float, connections: int
) -> Load:
    """Send `requests`, of which there must be enough, `rate` a second; latencies are in the order of the answers.

    Raises UnexpectedAnswer for a status of 400 or more other than 404, and for an answer without a length.
    """
    loop = asyncio.get_running_loop()
    waiting: deque[float] = deque()
    latencies: list[float] = []
    idle: list[_Connection] = []
    opened = [
        (await loop.create_connection(partial(_Connection, idle, waiting, requests, latencies), host, port))[1]
        for _ in range(connections)
    ]
    gc.disable()
    try:
        started = time.perf_counter()
        sent, count = 0, int(rate * seconds)
        while len(latencies) < count:
            now = time.perf_counter()
            if now - started > seconds * 2 + 5:
                raise UnexpectedAnswer(f"{rate:.0f} requests a second are too many")
            due = min(int((now - started) * rate) + 1, count)
            waiting.extend(started + number / rate for number in range(sent, due))
            sent = due
            while waiting and idle:
                idle.pop().send()
            if failed := next((one.failed for one in opened if one.failed), None):
                raise failed
            await asyncio.sleep(TICK_SECONDS)
        return Load(latencies, time.perf_counter() - started)
    finally:
        gc.enable()
        for one in opened:
            one.close()


class _Connection(asyncio.Protocol):
    def __init__(
        self, idle: "list[_Connection]", waiting: deque[float], requests: Iterator[bytes], latencies: list[float]
    ) -> None:
        self.failed: UnexpectedAnswer | None = None
        self._idle, self._waiting, self._requests, self._latencies = idle, waiting, requests, latencies
        self._answer = bytearray()
        self._size = 0
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._idle.append(self)

    def send(self) -> None:
        """Send the request that has been due for longest."""
        self._due = self._waiting.popleft()
        self._transport.write(next(self._requests))

    def close(self) -> None:
        """Close the connection, whatever is under way."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._size and not self._read_size():
            return
        if len(self._answer) < self._size:
            return
        self._latencies.append(time.perf_counter() - self._due)
        self._answer.clear()
        self._size = 0
        if self._waiting:
            self.send()
        else:
            self._idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.failed = self.failed or UnexpectedAnswer(f"the connection was closed: {exc}")

    def _read_size(self) -> bool:
        end = self._answer.find(HEAD_END)
        if end < 0:
            return False
        head = bytes(self._answer[:end])
        status = int(head[9:12])
        at = head.lower().find(LENGTH)
        if (status >= 400 and status != 404) or (at < 0 and status != 304):
            self.failed = UnexpectedAnswer(head.partition(b"\r\n")[0].decode("latin-1"))
            self.close()
            return False
        length = 0 if status == 304 else int(head[at + len(LENGTH) :].partition(b"\r\n")[0])
        self._size = end + len(HEAD_END) + length
        return True

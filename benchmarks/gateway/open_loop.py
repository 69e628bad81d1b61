"""An open-loop load driver: requests are due at fixed moments, whether those before them are answered or not.

A latency counts from the moment a request was due where it had to wait for a connection: a server that stands still for
a moment is charged for everything that would have come meanwhile (no coordinated omission). Where a connection was
free it counts from its sending, as what the driver itself is late is not the server's doing. Nor is a crowd that comes
because the driver stood still: what was due meanwhile is due from then on.
"""

import asyncio
import gc
import select
import socket
import time
from collections import deque
from collections.abc import Iterator

from benchmarks.driver import HEAD_END, LENGTH, Load, UnexpectedAnswer

RECEIVE_BYTES = 256 * 1024
STANDSTILL_SECONDS = 0.0005
"""Of the driver, which its machine has given to others meanwhile: more than a turn of its takes."""
ANSWERS_A_TURN = 8
"""So that a crowd of answers, as after a server's standstill, holds up no request that is due meanwhile."""


async def drive_at(
    host: str, port: int, requests: Iterator[bytes], *, rate: float, seconds: float, connections: int
) -> Load:
    """Send `requests`, of which there must be enough, `rate` a second; latencies are in the order of the answers.

    In a thread, with bare sockets: an event loop would cost more than what is measured. Raises UnexpectedAnswer for a
    status of 400 or more other than 404, for an answer without a length, and where the rate is more than can be had.
    """
    return await asyncio.to_thread(_drive, host, port, requests, rate, seconds, connections)


def _drive(host: str, port: int, requests: Iterator[bytes], rate: float, seconds: float, connections: int) -> Load:
    opened = [_Connection(host, port) for _ in range(connections)]
    by_number = {one.socket.fileno(): one for one in opened}
    poll = select.epoll()
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    # In turn, so that none is idle for so long that it is closed.
    idle, waiting, latencies = deque(opened), deque[float](), list[float]()
    count = int(rate * seconds)
    gc.disable()  # the driver makes no cycles, and should not stop to look for them
    try:
        began = started = time.perf_counter()
        sent = 0
        while len(latencies) < count:
            now = time.perf_counter()
            if now - began > seconds * 2 + 5:
                raise UnexpectedAnswer(f"{rate:.0f} requests a second are too many")
            late = now - started - sent / rate
            if sent and late > STANDSTILL_SECONDS:
                started += late
            due = min(int((now - started) * rate) + 1, count)
            waiting.extend(started + number / rate for number in range(sent, due))
            sent = due
            while waiting and idle:
                waiting.popleft()
                idle.popleft().send(next(requests), time.perf_counter())
            until_next = started + sent / rate - time.perf_counter()
            if until_next > 0:  # epoll's own timeouts are whole milliseconds
                select.select([poll], [], [], until_next)
            for number, _ in poll.poll(0, ANSWERS_A_TURN):
                one = by_number[number]
                if one.receive():
                    latencies.append(time.perf_counter() - one.since)
                    if waiting:
                        one.send(next(requests), waiting.popleft())
                    else:
                        idle.append(one)
        return Load(latencies, time.perf_counter() - began)
    finally:
        gc.enable()
        poll.close()
        for one in opened:
            one.socket.close()


class _Connection:
    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.since = 0.0
        """When its request was due."""
        self._parts: list[bytes] = []
        self._missing_bytes = 0

    def send(self, request: bytes, since: float) -> None:
        self.since = since
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Take what has come; whether the answer is whole."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise UnexpectedAnswer("the connection was closed")
        if not self._missing_bytes:
            self._parts.append(data)
            data = b"".join(self._parts)
            size = _size(data)
            if not size:
                return False
            self._parts.clear()
            self._missing_bytes = size
        self._missing_bytes -= len(data)
        return self._missing_bytes <= 0


def _size(data: bytes) -> int:
    """Of an answer, by its head; 0 where that is not all there."""
    end = data.find(HEAD_END)
    if end < 0:
        return 0
    head = data[:end]
    status = int(head[9:12])
    at = head.lower().find(LENGTH)
    if (status >= 400 and status != 404) or (at < 0 and status != 304):
        raise UnexpectedAnswer(head.partition(b"\r\n")[0].decode("latin-1"))
    length = 0 if status == 304 else int(head[at + len(LENGTH) :].partition(b"\r\n")[0])
    return end + len(HEAD_END) + length

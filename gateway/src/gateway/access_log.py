"""The access log and the count of requests: errors have a line each, of everything else a bounded number a second."""

import time
from typing import Any

import structlog

from service_kit.metrics import Metrics

LINES_A_SECOND = 50
"""Of answers below 400, and of 429, which one caller can have without end; below this rate every request has its line.
At 6 µs a line more of them would cost as much as the answers."""
log = structlog.get_logger()


class AccessLog:
    """One line for a request that is over (never its query: tokens travel there)."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._second = 0
        self._left = 0
        self._omitted = 0

    def note(
        self, method: str, path: str, route: str, status: int, size_bytes: int, started: float, **facts: Any
    ) -> None:
        """Count a request and write its line, if it is to have one. `started` is monotonic, in seconds."""
        now = time.monotonic()
        self._metrics.observe_request(method, route, status, now - started)
        if status < 400 or status == 429:
            second = int(now)
            if second != self._second:
                self._second = second
                self._left = LINES_A_SECOND
            if not self._left:
                self._omitted += 1
                return
            self._left -= 1
        if self._omitted:
            facts["omitted"], self._omitted = self._omitted, 0
        log.info(
            "request.answered",
            method=method,
            path=path,
            route=route,
            status=status,
            bytes=size_bytes,
            duration_ms=round((now - started) * 1000, 2),
            **facts,
        )

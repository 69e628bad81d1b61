"""When GitHub fails call after call, the next ones fail at once for a moment, and one at a time tries again. Pure."""

FAILURES_BEFORE_OPEN = 5
"""In a row. One resource that GitHub cannot make stands between others that it can."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0


class Breaker:
    """Open while nothing is to be asked. Times are of a monotonic clock."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = float("-inf")

    def wait_seconds(self, now: float) -> float:
        """How long until the next try; 0 for who may try now, who is then the only one for a moment."""
        if self._failures < FAILURES_BEFORE_OPEN:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        self._open_until = now + self._pause_seconds()
        return 0.0

    def note_success(self) -> None:
        """An answer came, whatever it said."""
        self._failures = 0

    def note_failure(self, now: float) -> None:
        """No answer came, or one of a server that is not well."""
        self._failures += 1
        if self._failures >= FAILURES_BEFORE_OPEN:
            self._open_until = max(self._open_until, now + self._pause_seconds())

    def _pause_seconds(self) -> float:
        pause_seconds: float = FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - FAILURES_BEFORE_OPEN, 10)
        return min(pause_seconds, LONGEST_PAUSE_SECONDS)

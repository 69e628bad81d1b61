"""Simulated time: it stands still until it is told to go on."""

from datetime import UTC, datetime, timedelta

from github_client.clock import Clock

START = datetime(2026, 11, 20, 12, tzinfo=UTC)


class SimulatedClock(Clock):
    """All three times together; SQL goes by it too."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._passed_seconds = 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._passed_seconds += seconds

    def seconds(self) -> float:
        return 1_000_000.0 + self._passed_seconds

    def utc(self) -> datetime:
        return self._start + timedelta(seconds=self._passed_seconds)

    def for_sql(self) -> datetime | None:
        return self.utc()

"""The time, so that a test or a benchmark can hand in another: what lasts, what is shown, and what Postgres goes by."""

import time
from datetime import UTC, datetime


class Clock:
    """The system's clock. A simulated one overrides all three together."""

    def seconds(self) -> float:
        """Monotonic: for ages and deadlines, which a jump of the system's clock must not touch."""
        return time.monotonic()

    def utc(self) -> datetime:
        """For what is shown."""
        return datetime.now(UTC)

    def for_sql(self) -> datetime | None:
        """What SQL takes for now in `coalesce(%(now)s, now())`.

        None: the database's own time, the one time that all replicas share. Instants never cross the border between
        a service and the database in production, ages do.
        """
        return None

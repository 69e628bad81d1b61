"""Retry rules for outgoing calls: how long to wait, and a budget that keeps retries from becoming a storm. Pure."""

import random

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0


def pause_seconds(tries_made: int, chance: float | None = None) -> float:
    """Full jitter between 0 and 0.1 s · 2^(tries-1), at most 2 s; `chance` (0..1) replaces the random number."""
    ceiling: float = min(FIRST_PAUSE_SECONDS * 2 ** (tries_made - 1), LONGEST_PAUSE_SECONDS)
    share = random.random() if chance is None else chance  # noqa: S311 - jitter, not a secret
    return ceiling * share


class RetryBudget:
    """At most one retry for every ten calls, and a few to begin with (after Finagle's RetryBudget)."""

    PER_CALL = 0.1
    MOST = 10.0

    def __init__(self) -> None:
        self._balance = self.MOST

    def note_call(self) -> None:
        """Each first try earns a tenth of a retry."""
        self._balance = min(self.MOST, self._balance + self.PER_CALL)

    def spend(self) -> bool:
        """True when a retry may be made; it is then paid for."""
        if self._balance < 1:
            return False
        self._balance -= 1
        return True

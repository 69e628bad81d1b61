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

    AT_FIRST = 10.0

    def __init__(self, per_call: float = 0.1, most: float = AT_FIRST) -> None:
        """Each call earns `per_call` retries; no more than `most` are saved up."""
        self._per_call = per_call
        self._most = most
        self._balance = self.AT_FIRST

    @property
    def balance(self) -> float:
        """How many retries may be made now."""
        return self._balance

    def note_call(self) -> None:
        """A first try was made."""
        self._balance = min(self._most, self._balance + self._per_call)

    def spend(self) -> bool:
        """True when a retry may be made; it is then paid for."""
        if self._balance < 1:
            return False
        self._balance -= 1
        return True

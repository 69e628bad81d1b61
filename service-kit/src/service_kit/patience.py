"""How long the caller of the request under way still waits: who has less than that answers with what there is."""

import time
from contextvars import ContextVar

HEADER = "X-Request-Timeout-Ms"
"""Set by the gateway, which takes away what its own callers say: milliseconds until it gives the answer up."""
RESERVE_SECONDS = 1.0
"""For the answer's own way back."""
_ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)


def begin_waiting(offered: str | None) -> None:
    """Note what the caller said when its request came; it holds for the running task."""
    well_formed = offered is not None and offered.isascii() and offered.isdigit() and len(offered) < 8
    _ends_at.set(time.monotonic() + int(offered) / 1000 if offered and well_formed else None)


def patience_seconds(most: float) -> float:
    """What is left for a piece of work that may take at most so many seconds; never below 0."""
    end = _ends_at.get()
    return most if end is None else max(min(most, end - RESERVE_SECONDS - time.monotonic()), 0.0)

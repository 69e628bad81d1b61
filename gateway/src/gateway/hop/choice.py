"""Which replica a request goes to: the less loaded of two, in turn where that makes no difference. Pure."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

EQUALLY_FAST_SECONDS = 0.1
"""Below this latency says more about what was asked than about who answered: a kept copy, or a call to GitHub."""
HALF_LIFE_SECONDS = 5.0
"""Of what is known about latency: a replica that was slow is asked again some time."""
SHARE_OF_ONE = 0.2


def choose(candidates: Sequence[T], load: Callable[[T], float], turn: int, chance: float) -> T:
    """The candidate whose turn it is, or another one that `chance` (0 ≤ chance < 1) names, if that has less to do.

    Two of many are enough to keep loads even (Mitzenmacher, "The power of two choices"), and equal ones get equal
    shares, a replica that has just come among them.
    """
    count = len(candidates)
    first = candidates[turn % count]
    if count == 1:
        return first
    other = candidates[(turn + 1 + int(chance * (count - 1))) % count]
    return other if load(other) < load(first) else first


class Latency:
    """A moving mean that forgets; times are of a monotonic clock, in seconds."""

    __slots__ = ("_mean", "_noted_at")

    def __init__(self) -> None:
        self._mean = 0.0
        self._noted_at = 0.0

    def note(self, seconds: float, now: float) -> None:
        """Count one answer in."""
        known = self._known(now)
        self._mean = known + SHARE_OF_ONE * (seconds - known)
        self._noted_at = now

    def at(self, now: float) -> float:
        """What to expect; at least EQUALLY_FAST_SECONDS."""
        return max(self._known(now), EQUALLY_FAST_SECONDS)

    def _known(self, now: float) -> float:
        return self._mean * 0.5 ** ((now - self._noted_at) / HALF_LIFE_SECONDS) if self._mean else 0.0

"""Whose turn it is: of what is claimed, what is sent now, so that a slow endpoint has neither all hands nor all room.

Pure: times are seconds of one monotonic clock.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from notifier_service.models import Claimed

LONGEST_WAIT_SECONDS = 1.0
"""What has waited longer for its endpoint keeps others from being claimed, and is to be put off."""


@dataclass(slots=True)
class _Endpoint:
    sending: int = 0
    waiting: deque[Claimed] = field(default_factory=deque)
    """What came when it had its share."""
    ended: int = 0
    """Sends that ended since `since`."""
    since: float = 0.0


class Turns:
    """What is claimed and waits to be sent. `share` is how many hands one endpoint may have at most."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._ready: deque[Claimed] = deque()
        self._endpoints: dict[int, _Endpoint] = {}
        self._kept_waiting = 0

    def __len__(self) -> int:
        return len(self._ready) + self._kept_waiting

    @property
    def has_ready(self) -> bool:
        """Whether `take` may find something."""
        return bool(self._ready)

    def extend(self, claimed: Iterable[Claimed]) -> None:
        """Add what was claimed."""
        self._ready.extend(claimed)

    def take(self) -> Claimed | None:
        """The next one to send, None when all that waits is for endpoints that have their share."""
        while self._ready:
            claimed = self._ready.popleft()
            endpoint = self._endpoints.get(claimed.endpoint.id)
            if endpoint is None:
                endpoint = self._endpoints[claimed.endpoint.id] = _Endpoint(since=claimed.claimed_at)
            if endpoint.sending < self._share:
                endpoint.sending += 1
                return claimed
            endpoint.waiting.append(claimed)
            self._kept_waiting += 1
        return None

    def note_end(self, claimed: Claimed) -> None:
        """A send ended: its endpoint may have another."""
        endpoint = self._endpoints[claimed.endpoint.id]
        endpoint.sending -= 1
        endpoint.ended += 1
        if endpoint.waiting:
            self._kept_waiting -= 1
            self._ready.append(endpoint.waiting.popleft())
        elif not endpoint.sending:
            del self._endpoints[claimed.endpoint.id]

    def take_excess(self, now: float) -> list[Claimed]:
        """Take out what waits for endpoints that are too slow for it, but for as much as they take in a second."""
        excess: list[Claimed] = []
        for endpoint in self._endpoints.values() if self._kept_waiting else ():
            if endpoint.waiting and now - endpoint.waiting[0].claimed_at > LONGEST_WAIT_SECONDS:
                per_second = endpoint.ended / (now - endpoint.since)
                endpoint.ended, endpoint.since = 0, now
                while len(endpoint.waiting) > per_second:
                    excess.append(endpoint.waiting.pop())
        self._kept_waiting -= len(excess)
        return excess

    def clear(self) -> list[Claimed]:
        """Take out all that waits."""
        waiting = [*self._ready, *(claimed for endpoint in self._endpoints.values() for claimed in endpoint.waiting)]
        self._ready.clear()
        for endpoint in self._endpoints.values():
            endpoint.waiting.clear()
        self._kept_waiting = 0
        return waiting

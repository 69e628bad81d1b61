"""Where entries are kept: the least recently used leave when their bytes, all of them counted, reach the bound."""

from collections import OrderedDict

from gateway.cache.entry import Entry

VARIANTS_LIMIT = 8
"""Of one target, as `Vary: Accept` tells them apart; the oldest makes room."""
_SHARE_OF_LARGEST = 8
"""One entry may take this part of the whole at most, so that a few cannot push out everything else."""


class Store:
    """Entries by target; not safe for threads, bounded at every moment between calls."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self.evicted = 0
        """Entries that made room for others, since the start."""
        self._places: OrderedDict[str, list[Entry]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._places.values()))

    def get(self, target: str, accept: str) -> Entry | None:
        """The entry for a request, however old; it counts as used."""
        place = self._places.get(target)
        if place is None:
            return None
        for entry in place:
            if entry.is_for(accept):
                self._places.move_to_end(target)
                return entry
        return None

    def put(self, target: str, entry: Entry) -> None:
        """Keep an entry in the place of the one that answered the same requests; one that is too large is not kept."""
        place = self._places.setdefault(target, [])
        for other in [
            one for one in place if one.selecting == entry.selecting or None in (one.selecting, entry.selecting)
        ]:
            self._remove(target, place, other)
        if self._cost(target, entry) * _SHARE_OF_LARGEST > self.limit_bytes:
            if not place:
                del self._places[target]
            return
        while len(place) >= VARIANTS_LIMIT:
            self._remove(target, place, place[-1])
        place.insert(0, entry)
        self.size_bytes += self._cost(target, entry)
        self._places.move_to_end(target)
        self._make_room()

    def discard(self, target: str, entry: Entry) -> None:
        """Forget an entry, if it is still kept."""
        place = self._places.get(target, [])
        if entry in place:
            self._remove(target, place, entry)
            if not place:
                del self._places[target]

    def grow(self, target: str, entry: Entry, encoding: str, body: bytes) -> None:
        """Have an entry in one more encoding, if it is still kept."""
        place = self._places.get(target, ())
        if entry not in place:
            return
        before = entry.size_bytes
        entry.add(encoding, body)
        self.size_bytes += entry.size_bytes - before
        self._make_room()

    def _make_room(self) -> None:
        while self.size_bytes > self.limit_bytes:
            target, place = self._places.popitem(last=False)
            self.size_bytes -= sum(self._cost(target, entry) for entry in place)
            self.evicted += len(place)

    def _remove(self, target: str, place: list[Entry], entry: Entry) -> None:
        place.remove(entry)
        self.size_bytes -= self._cost(target, entry)

    def _cost(self, target: str, entry: Entry) -> int:
        return entry.size_bytes + len(target)

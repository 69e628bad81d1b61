"""A table of moments in memory that the gateway's processes share: of a fixed size, without locks."""

import mmap
import secrets

SLOTS = 131_072
_WAYS = 4
_SECRET_BYTES = 16
SIZE_BYTES = _SECRET_BYTES + SLOTS * 16
"""2 MiB, of which the system gives only what is touched."""


class SharedTable:
    """Moments (seconds, monotonic clock) by 64-bit key. Where there is no room, the moment that is over first goes.

    A key may stand in one of four slots. Two processes that write the same slot at once lose one of the writes, never
    half of one: moments and keys are single words. `key_secret` is the same for all that share the memory; keys should
    be made with it, so that nobody outside can aim at a slot.
    """

    def __init__(self, memory: mmap.mmap | None = None) -> None:
        """In `memory` of SIZE_BYTES that `prepare` has been called on, or in some of its own."""
        if memory is None:
            memory = mmap.mmap(-1, SIZE_BYTES)
            prepare(memory)
        view = memoryview(memory)
        self.key_secret = bytes(view[:_SECRET_BYTES])
        middle = _SECRET_BYTES + SLOTS * 8
        self.keys = view[_SECRET_BYTES:middle].cast("Q")
        self.moments = view[middle:SIZE_BYTES].cast("d")

    def slot_of(self, key: int) -> int:
        """Where the key stands, or may be put: then `keys[slot]` is another's, who has the least to lose."""
        keys = self.keys
        slot = key % SLOTS & -_WAYS
        if keys[slot] == key:
            return slot
        if keys[slot + 1] == key:
            return slot + 1
        if keys[slot + 2] == key:
            return slot + 2
        if keys[slot + 3] == key:
            return slot + 3
        return min(range(slot, slot + _WAYS), key=self.moments.__getitem__)

    def get(self, key: int) -> float:
        """The key's moment; 0 where there is none."""
        slot = self.slot_of(key)
        return self.moments[slot] if self.keys[slot] == key else 0.0

    def put(self, key: int, moment: float) -> None:
        """Set the key's moment."""
        slot = self.slot_of(key)
        self.keys[slot] = key
        self.moments[slot] = moment


def prepare(memory: mmap.mmap) -> None:
    """Write a new secret into memory that is all zero."""
    memory[:_SECRET_BYTES] = secrets.token_bytes(_SECRET_BYTES)

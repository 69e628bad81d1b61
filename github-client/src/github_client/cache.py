"""Copies of GitHub's answers in the process: bounded by bytes, the least recently used go first. Pure."""

import zlib
from collections import OrderedDict
from datetime import datetime

MEMORY_LIMIT_BYTES = 32 * 1024 * 1024
COPY_LIMIT_BYTES = 1024 * 1024
"""A larger answer (compressed) is answered and forgotten: it would push a thousand others out."""
PACKED_FROM_BYTES = 2048
_OVERHEAD_BYTES = 700
"""What a copy weighs besides its texts: some 610 bytes of objects, the rest is lost between them (by RSS)."""


def pack(body: bytes) -> bytes:
    """Compress JSON of 2 KiB and more where that helps. zlib begins with `x`, which no JSON text does."""
    packed = zlib.compress(body, 6) if len(body) >= PACKED_FROM_BYTES else body
    return packed if len(packed) < len(body) else body


def unpack(packed: bytes) -> bytes:
    """The JSON that `pack` was given."""
    return zlib.decompress(packed) if packed.startswith(b"x") else packed


class Copy:
    """One answer as it is kept. `status` is 200, or 404 or 451 with an empty body: GitHub shows no such thing."""

    __slots__ = (
        "as_of",
        "confirmed_seconds",
        "credential",
        "etag",
        "failures",
        "last_known_page",
        "next_page",
        "packed",
        "retry_seconds",
        "status",
    )

    def __init__(
        self,
        *,
        status: int,
        packed: bytes,
        as_of: datetime,
        confirmed_seconds: float,
        etag: str | None = None,
        credential: str = "",
        next_page: int | None = None,
        last_known_page: int = 1,
    ) -> None:
        self.status = status
        self.packed = packed
        self.as_of = as_of
        """When GitHub last gave this answer or confirmed it, UTC, to be shown."""
        self.confirmed_seconds = confirmed_seconds
        """The same moment on the service's monotonic clock: its age decides whether the copy is fresh."""
        self.etag = etag
        self.credential = credential
        self.next_page = next_page
        self.last_known_page = last_known_page
        self.failures = 0
        """Renewals in a row that failed."""
        self.retry_seconds = 0.0
        """No renewal before this (monotonic)."""


class MemoryCache:
    """Copies by key, at most `limit_bytes` of them, the least recently used forgotten first."""

    def __init__(self, limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._copies: OrderedDict[str, Copy] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._copies)

    def get(self, key: str) -> Copy | None:
        """The copy, now the most recently used; None if there is none."""
        copy = self._copies.get(key)
        if copy is not None:
            self._copies.move_to_end(key)
        return copy

    def put(self, key: str, copy: Copy) -> None:
        """Keep a copy instead of what was there; one that is too large is not kept, and what was there is forgotten."""
        self.forget(key)
        if len(copy.packed) > COPY_LIMIT_BYTES:
            return
        self._copies[key] = copy
        self.size_bytes += _weight(key, copy)
        while self.size_bytes > self._limit_bytes:
            oldest, forgotten = self._copies.popitem(last=False)
            self.size_bytes -= _weight(oldest, forgotten)

    def forget(self, key: str) -> None:
        """Keep nothing for this key."""
        copy = self._copies.pop(key, None)
        if copy is not None:
            self.size_bytes -= _weight(key, copy)


def _weight(key: str, copy: Copy) -> int:
    return _OVERHEAD_BYTES + len(key) + len(copy.packed)

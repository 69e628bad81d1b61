"""Requests known byte for byte: what a caller asks again and again need not be parsed again."""

from gateway.hits import Wanted

LIMIT = 4096
"""Requests; beyond, all are parsed anew. With what they are for, they take 8 MB at most."""
_LIMIT_BYTES = 1024
"""Of one."""


class KnownRequests:
    """What requests without a body were for, by the peer and their bytes."""

    def __init__(self) -> None:
        self._wanted: dict[tuple[str, bytes], Wanted] = {}
        self.get = self._wanted.get

    def remember(self, data: bytes, wanted: Wanted) -> None:
        """`data` is one whole request, and was read as `wanted`; one with an id of its own never comes again."""
        if len(data) > _LIMIT_BYTES or wanted.request_id is not None:
            return
        if len(self._wanted) >= LIMIT:
            self._wanted.clear()
        self._wanted[wanted.peer, data] = wanted

"""The request id: one value that ties together the log lines, answers and problems of one request in all services."""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "X-Request-Id"
_WELL_FORMED = re.compile(r"[A-Za-z0-9-]{8,64}")
_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def begin_request(offered: str | None) -> str:
    """Keep the caller's id when it is well formed, otherwise make one; it holds for the running task."""
    request_id = well_formed_or_new(offered)
    _request_id.set(request_id)
    return request_id


def well_formed_or_new(offered: str | None) -> str:
    """The caller's id when it is well formed, otherwise a new one."""
    return well_formed(offered) or new_request_id()


def well_formed(offered: str | None) -> str | None:
    """The caller's id when it is well formed."""
    return offered if offered and _WELL_FORMED.fullmatch(offered) else None


def new_request_id() -> str:
    """32 hexadecimal digits."""
    return random.getrandbits(128).to_bytes(16).hex()


@contextmanager
def outside_of_requests() -> Iterator[None]:
    """Have no id for a while, for making what outlives the request: a connection's callbacks keep this moment's id."""
    token = _request_id.set(None)
    try:
        yield
    finally:
        _request_id.reset(token)


def current_request_id() -> str | None:
    """The running task's request id, None outside of a request."""
    return _request_id.get()

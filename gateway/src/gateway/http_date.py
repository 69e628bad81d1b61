"""This moment as HTTP writes it."""

from email.utils import formatdate
from functools import lru_cache
from time import time


def http_date() -> str:
    """Now, as in `Date` (RFC 9110, 5.6.7)."""
    return _written(int(time()))


@lru_cache(maxsize=2)
def _written(second: int) -> str:
    return formatdate(second, usegmt=True)

"""A cure for aiopg 1.4 on uvloop: after a refused connection it leaves the socket's number registered for writing."""

import weakref

import aiopg
import aiopg.connection


class Connection(aiopg.Connection):
    """Takes back what aiopg forgets.

    Its `_ready` stops reading from a socket that libpq has closed, and forgets that it was waiting to write. On uvloop
    the next connection, which gets the same number, fails with RuntimeError: every second one while Postgres is away.
    """

    @staticmethod
    def _ready(weak_self: "weakref.ref[Connection]") -> None:
        self = weak_self()
        fileno = None if self is None else self._fileno
        aiopg.Connection._ready(weak_self)
        if self is not None and fileno is not None and self._fileno is None:
            self._loop.remove_writer(fileno)


def cure() -> None:
    """Have aiopg, and so every pool, open connections of the class above."""
    aiopg.connection.Connection = Connection  # type: ignore[misc] # aiopg offers no other way in

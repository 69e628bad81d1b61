"""A service's name and the addresses behind it, asked for again and again: replicas come and go."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from socket import AF_INET, SOCK_STREAM

import structlog

from gateway.hop.pool import Address

INTERVAL_SECONDS = 1.5
LOOKUP_TIMEOUT_SECONDS = 1.0
KEPT_SECONDS = 300.0
"""How long the last good answer is believed while none comes; by then an address may be another container's."""
ADDRESSES_LIMIT = 64

Lookup = Callable[[str], Awaitable[list[str]]]
log = structlog.get_logger()


async def look_up(host: str) -> list[str]:
    """The addresses that the system's resolver has for a name, of IPv4 if there are any.

    Of one family, as a replica that has an address in each is still one. Raises OSError.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=SOCK_STREAM)
    old = [str(address[0]) for family, *_, address in found if family == AF_INET]
    return old or [str(address[0]) for *_, address in found]


class Resolver:
    """Tells of every change in what a name stands for. An address in place of a name is never looked up."""

    def __init__(
        self, host: str, port: int, on_change: Callable[[frozenset[Address]], None], lookup: Lookup = look_up
    ) -> None:
        self._host = host
        self._port = port
        self._on_change = on_change
        self._lookup = lookup
        self._known: frozenset[Address] = frozenset()
        self._known_at = 0.0
        self._under_way: asyncio.Future[list[str]] | None = None
        self._is_failing = False

    @property
    def is_fixed(self) -> bool:
        """Whether there is nothing to ask again."""
        try:
            ip_address(self._host)
        except ValueError:
            return False
        return True

    async def refresh(self) -> None:
        """Ask once. An answer that is empty, fails or takes more than a second changes nothing for five minutes."""
        now = asyncio.get_running_loop().time()
        addresses = [self._host] if self.is_fixed else await self._ask()
        if addresses:
            self._known_at = now
            self._settle(frozenset(Address(one, self._port) for one in sorted(addresses)[:ADDRESSES_LIMIT]))
        elif self._known and now - self._known_at > KEPT_SECONDS:
            self._settle(frozenset())

    async def run(self) -> None:
        """Ask for ever."""
        try:
            while True:
                await asyncio.sleep(INTERVAL_SECONDS)
                await self.refresh()
        finally:
            if self._under_way is not None:
                self._under_way.cancel()

    async def _ask(self) -> list[str]:
        # One at a time: a lookup holds a thread, and cannot be called back from it.
        if self._under_way is None:
            self._under_way = asyncio.ensure_future(self._lookup(self._host))
        done, _ = await asyncio.wait({self._under_way}, timeout=LOOKUP_TIMEOUT_SECONDS)
        if not done:
            self._note_failure("no answer in time")
            return []
        finished, self._under_way = self._under_way, None
        try:
            addresses = finished.result()
        except OSError as error:
            self._note_failure(str(error))
            return []
        if not addresses:
            self._note_failure("no address")
        else:
            self._is_failing = False
        return addresses

    def _note_failure(self, error: str) -> None:
        if not self._is_failing:  # once, not every time
            log.warning("name.not_resolved", host=self._host, error=error)
        self._is_failing = True

    def _settle(self, addresses: frozenset[Address]) -> None:
        if addresses != self._known:
            self._known = addresses
            self._on_change(addresses)

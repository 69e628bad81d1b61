"""Who calls: the peer of the connection, or whom trusted proxies say they speak for."""

from functools import lru_cache

from multidict import CIMultiDictProxy

from gateway.headers import Network, forwarded_for

_LIMIT_CHARACTERS = 256
"""Of an `X-Forwarded-For` whose reading is remembered."""


class Callers:
    """Reads `X-Forwarded-For` where these proxies wrote it; the same one again costs next to nothing."""

    def __init__(self, trusted_proxies: tuple[Network, ...]) -> None:
        self._trusted = trusted_proxies
        self._remembered = lru_cache(maxsize=4096)(self._read)

    def forwarded_for(self, peer: str, headers: CIMultiDictProxy[str]) -> str:
        """The caller's address, then the trusted proxies it came through, the last of them being the `peer`."""
        if not self._trusted or "X-Forwarded-For" not in headers:
            return peer
        offered = ",".join(headers.getall("X-Forwarded-For"))
        return self._remembered(peer, offered) if len(offered) <= _LIMIT_CHARACTERS else self._read(peer, offered)

    def address(self, peer: str, headers: CIMultiDictProxy[str]) -> str:
        """The caller's address alone."""
        return self.forwarded_for(peer, headers).partition(",")[0]

    def _read(self, peer: str, offered: str) -> str:
        return forwarded_for(peer, [offered], self._trusted)

"""Rate limits: how many requests a minute an address, or an identity that GitHub has accepted, may make (GCRA)."""

import hashlib
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import NamedTuple

from gateway.shared_table import SharedTable
from service_kit.errors import ServiceError

WINDOW_SECONDS = 60.0
DOOR_CLASS = "default"
"""What every request is charged to, at the door."""
IDENTITY_FACTOR = 2
"""An identity may do this much more than an address: it stands for one person, whose token GitHub limits besides."""
ACCEPTED_SECONDS = 600.0
"""How long an identity counts as accepted after GitHub last showed it."""
_WINDOW = f"{WINDOW_SECONDS:.0f}"
_KEYS_KEPT = 65_536
_ROUNDING_SECONDS = 1e-6


class RateLimited(ServiceError):
    """The caller has made more requests than one may in a minute."""

    status = 429
    code = "rate_limited"


class Verdict(NamedTuple):
    """What a limit says to one request; `name` is the limit's."""

    allowed: bool
    name: str
    limit: int
    """Requests in WINDOW_SECONDS."""
    remaining: int
    reset_seconds: int
    """Until the whole limit is there again; where the request is refused, until the next one is not."""

    def lines(self) -> str:
        """`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), as they go out."""
        name = self.name
        return (
            f'RateLimit-Policy: "{name}";q={self.limit};w={_WINDOW}\r\n'
            f'RateLimit: "{name}";r={self.remaining};t={self.reset_seconds}\r\n'
        )

    def error(self) -> RateLimited:
        """What a refused request is answered with."""
        return RateLimited(
            f"Of these, at most {self.limit} a minute are answered; the next one in {self.reset_seconds} s.",
            retry_after_seconds=self.reset_seconds,
        )


def spend(owed_until: float, now: float, interval_seconds: float) -> tuple[bool, float]:
    """GCRA for one request: whether it conforms, and until when the bucket then owes.

    A bucket is one moment. Each request moves it on by the interval; one that would move it more than WINDOW_SECONDS
    ahead of now does not conform, and moves nothing. So a whole limit may come at once, and then one each interval.
    """
    owed_until = max(owed_until, now)
    moved = owed_until + interval_seconds
    return (True, moved) if moved - now <= WINDOW_SECONDS + _ROUNDING_SECONDS else (False, owed_until)


class RateLimits:
    """The buckets, in a table of a fixed size that all processes of a gateway share.

    A token opens no bucket unless GitHub has accepted it before; until then it is its address that is charged. A bucket
    is lost only to one that owes more, so that nobody is rid of his own by opening others.
    """

    def __init__(self, per_minute: int, search_per_minute: int, table: SharedTable | None = None) -> None:
        self._table = table or SharedTable()
        self.refused: Counter[str] = Counter()
        """Requests refused by this process, by the limit's name."""
        limits = {"default": per_minute, "search": search_per_minute}
        # By class. The number, added to a caller's key, keeps the caller's buckets apart.
        self._by_address = {
            name: (name, limit, WINDOW_SECONDS / limit, 4 * number)
            for number, (name, limit) in enumerate(limits.items(), 1)
        }
        self._by_identity = {
            name: (f"identity-{name}", limit * IDENTITY_FACTOR, seconds / IDENTITY_FACTOR, number)
            for name, limit, seconds, number in self._by_address.values()
        }
        self._address_key: Callable[[str], int] = lru_cache(_KEYS_KEPT)(
            lambda address: self._key(b"address", network_of(address))
        )

    def check(self, address: str, rate_class: str, now: float, authorization: str | None = None) -> Verdict:
        """Charge one request to its caller's bucket of this class; a refused one is not charged.

        `address` is the caller's, as `forwarded_for` found it; IPv6 counts by /64. `now` is monotonic, in seconds.
        """
        key = self._address_key(address)
        name, limit, interval_seconds, number = self._by_address[rate_class]
        table = self._table
        if authorization is not None:
            identity = self._key(b"identity", authorization)
            if table.get(identity) > now:
                key = identity
                name, limit, interval_seconds, number = self._by_identity[rate_class]
        key += number
        slot = table.slot_of(key)
        is_known = table.keys[slot] == key
        allowed, owed_until = spend(table.moments[slot] if is_known else 0.0, now, interval_seconds)
        owed_seconds = owed_until - now
        if not allowed:
            return Verdict(False, name, limit, 0, ceil(owed_seconds + interval_seconds - WINDOW_SECONDS) or 1)
        if not is_known:
            table.keys[slot] = key
        table.moments[slot] = owed_until
        remaining = int((WINDOW_SECONDS - owed_seconds + _ROUNDING_SECONDS) / interval_seconds)
        return Verdict(True, name, limit, remaining, ceil(owed_seconds))

    def refuse(self, verdict: Verdict) -> RateLimited:
        """What a request that is not allowed is answered with; it is counted by this."""
        self.refused[verdict.name] += 1
        return verdict.error()

    def learn(self, authorization: str, *, accepted: bool, now: float) -> None:
        """Remember what GitHub, through a service's answer, has shown of a token: that it is someone's, or not."""
        key = self._key(b"identity", authorization)
        if accepted:
            self._table.put(key, now + ACCEPTED_SECONDS)
        elif self._table.get(key):
            self._table.put(key, 0.0)

    def _key(self, kind: bytes, text: str) -> int:
        # Keyed: of a token nothing else is kept, and nobody can find others' buckets that stand beside his own.
        digest = hashlib.blake2b(
            text.encode("utf-8", "surrogateescape"), digest_size=8, key=self._table.key_secret, person=kind
        ).digest()
        return int.from_bytes(digest[1:]) + 1  # never 0, which is nobody's, and with room for a class's number


def is_accepted(status: int, cache_control: str) -> bool | None:
    """Whether an answer to a request with a token shows that GitHub took the token; None where it shows nothing.

    The services mark as private what they got with a caller's token, and answer 401 when GitHub refused it.
    """
    if status == 401:
        return False
    return True if 200 <= status < 300 and "private" in cache_control.lower() else None


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What counts as one caller: an IPv4 address, or the /64 that an IPv6 host has to itself."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return parsed.packed[:8].hex()

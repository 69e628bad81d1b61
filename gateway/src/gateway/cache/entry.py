"""One kept answer as ready bytes: a head and a body for each encoding, to which a hit only adds what changes."""

from http import HTTPStatus
from typing import NamedTuple

from gateway.cache.encoding import IDENTITY
from gateway.cache.policy import Lifetime, vary_of

CACHE_NAME = "wegit-gateway"
OVERHEAD_BYTES = 1536
HEADER_OVERHEAD_BYTES = 256
"""What an entry's objects, its place and each header's take beside their text: measured 900 and 170, rounded up."""
_SMALLEST_TO_COMPRESS_BYTES = 512
_COMPRESSIBLE = ("application/json", "application/problem+json", "text/", "image/svg+xml")
# Made anew for each answer, or not true of a kept one.
_NOT_KEPT = frozenset({"age", "content-length", "x-request-id"})
_NOT_IN_304 = frozenset({"content-type", "content-encoding", "last-modified"})


class Representation(NamedTuple):
    """The bytes of an answer in one encoding; the heads lack the fields that change, and the empty line."""

    head: bytes
    not_modified_head: bytes
    body: bytes


class Entry:
    """An answer, its lifetime (monotonic, in seconds), and which request headers it is for."""

    __slots__ = (
        "_age_told",
        "_changing",
        "born_at",
        "error_until",
        "etag",
        "fresh_until",
        "headers",
        "is_compressible",
        "representations",
        "retry_at",
        "revalidate_until",
        "selecting",
        "size_bytes",
        "status",
    )

    def __init__(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        lifetime: Lifetime,
        now: float,
        accept: str,
    ) -> None:
        """`headers` are what callers get on each answer; `accept` is what the service was shown."""
        named: dict[str, list[str]] = {}
        for name, value in headers:
            named.setdefault(name.lower(), []).append(value)
        self.status = status
        self.etag = named.get("etag", [""])[0]
        media_type = named.get("content-type", [""])[0].lower()
        self.is_compressible = len(body) >= _SMALLEST_TO_COMPRESS_BYTES and media_type.startswith(_COMPRESSIBLE)
        varies_by = vary_of(named)
        self.selecting = accept if "accept" in varies_by else None
        """The `Accept` of the requests that it answers; None for any."""
        self.headers = [(name, value) for name, value in headers if name.lower() not in _NOT_KEPT]
        if self.is_compressible and "accept-encoding" not in varies_by:
            self.headers.append(("Vary", "Accept-Encoding"))
        self.representations: dict[str, Representation] = {}
        self.size_bytes = OVERHEAD_BYTES + sum(
            HEADER_OVERHEAD_BYTES + len(name) + len(value) for name, value in self.headers
        )
        self.add(IDENTITY, body)
        self.begin(lifetime, now)

    def begin(self, lifetime: Lifetime, now: float) -> None:
        """Start its lifetime: at first, or again when it was found to hold still."""
        self.born_at = now - lifetime.age
        self.fresh_until = self.born_at + lifetime.fresh
        self.revalidate_until = self.fresh_until + lifetime.while_revalidated
        self.error_until = self.fresh_until + max(lifetime.if_error, lifetime.while_revalidated)
        self.retry_at = 0.0
        """Before this moment it is not asked for again: it could not be had just now."""
        self._age_told = -1
        self._changing = b""

    def add(self, encoding: str, body: bytes) -> None:
        """Have it in one more encoding."""
        fields = [*self.headers]
        if encoding != IDENTITY:
            fields = [(name, _weak(value) if name.lower() == "etag" else value) for name, value in fields]
            fields.append(("Content-Encoding", encoding))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        short = "".join(f"{name}: {value}\r\n" for name, value in fields if name.lower() not in _NOT_IN_304)
        reason = HTTPStatus(self.status).phrase
        length = "" if self.status == HTTPStatus.NO_CONTENT else f"Content-Length: {len(body)}\r\n"
        made = Representation(
            f"HTTP/1.1 {self.status} {reason}\r\n{lines}{length}".encode(),
            f"HTTP/1.1 304 Not Modified\r\n{short}".encode(),
            body,
        )
        self.representations[encoding] = made
        self.size_bytes += sum(map(len, made))

    def is_for(self, accept: str) -> bool:
        """Whether it answers a request with this `Accept`."""
        return self.selecting is None or self.selecting == accept

    def matches(self, if_none_match: str) -> bool:
        """Whether the caller has it already (RFC 9110, 13.1.2: a list of tags compared weakly, or `*`).

        What is no success, nobody has (13.2.1).
        """
        if not HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES:
            return False
        if if_none_match == self.etag:
            return bool(if_none_match)
        own = self.etag.removeprefix("W/")
        offered = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
        return "*" in offered or (own != "" and own in offered)

    def changing_fields(self, now: float) -> bytes:
        """`Age` and `Cache-Status` (RFC 9211; a negative `ttl` tells of staleness) of a hit at this moment."""
        age = int(now - self.born_at)
        if age != self._age_told:
            ttl = int(self.fresh_until - self.born_at) - age
            self._changing = f"Age: {age}\r\nCache-Status: {CACHE_NAME}; hit; ttl={ttl}\r\n".encode()
            self._age_told = age
        return self._changing


def _weak(etag: str) -> str:
    return etag if etag.startswith("W/") else f"W/{etag}"

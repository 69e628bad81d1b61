"""Header fields: which go on, in either direction, and what `X-Forwarded-For` may say. Pure."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from service_kit.errors import InvalidRequest

Network = IPv4Network | IPv6Network

# RFC 9110, 7.6.1, and what older proxies used: they speak of one connection, not of the message.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Made anew for the next hop, or nothing that a caller can know: where he comes from, and who he has been found to be.
_NOT_FROM_CALLERS = frozenset(
    {
        "cf-connecting-ip",
        "client-ip",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "remote-user",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-real-ip",
        "x-request-id",
        "x-request-timeout-ms",
        "x-rewrite-url",
    }
)
_NOT_FROM_CALLERS_BEGIN = ("x-auth-", "x-authenticated-", "x-envoy-", "x-forwarded-", "x-remote-", "x-user", "x-wegit-")
# Two of them would be two readings (RFC 9110, 5.3). aiohttp's parser sees to Host and Content-Length.
_SINGLE = frozenset(
    {
        "authorization",
        "content-location",
        "content-type",
        "date",
        "expect",
        "from",
        "if-modified-since",
        "if-range",
        "if-unmodified-since",
        "max-forwards",
        "origin",
        "proxy-authorization",
        "range",
        "referer",
        "traceparent",
        "user-agent",
        "x-request-id",
    }
)
# W3C Trace Context, 3.2; neither id may be all zeros.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
# `X_Forwarded_For` and its like have passed for their twins with a dash (CVE-2025-64484).
_NAME = re.compile(r"[A-Za-z0-9-]+")
# What came as bytes that are no UTF-8 is held as surrogates, and cannot be written again.
_BROKEN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    # A page of somebody else's that is made of an answer has no scripts and no frames. HSTS is for whoever ends TLS.
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)
"""On every answer, but for a document that has a Content-Security-Policy of its own."""
# The gateway says these itself.
_NOT_FROM_SERVICES = frozenset(
    {"content-length", "server", "x-request-id", *(name.lower() for name, _ in SECURITY_HEADERS)}
)
Fields = list[tuple[str, str]]


class InvalidHeader(InvalidRequest):
    """A header field could be read in two ways."""

    code = "invalid_header"


def check_headers(offered: Iterable[tuple[str, str]]) -> None:
    """Accept header fields that have one reading. Raises InvalidHeader, which names the field and repeats no value."""
    seen: set[str] = set()
    for name, _ in offered:
        lower = _lower(name)
        if lower in _SINGLE:
            if lower in seen:
                raise InvalidHeader(f"The header {lower} may be there once.")
            seen.add(lower)


def request_headers(offered: Iterable[tuple[str, str]], forwarded_for: str, request_id: str) -> Fields:
    """What a service gets to see of a caller's headers; ours come last, so that `Connection` cannot name them."""
    fields = []
    is_traced = False
    for lower, field in _end_to_end(offered):
        if lower in _NOT_FROM_CALLERS or lower.startswith(_NOT_FROM_CALLERS_BEGIN):
            continue
        if lower == "traceparent":
            is_traced = _TRACEPARENT.fullmatch(field[1]) is not None
        fields.append(field)
    if not is_traced:
        fields = [field for field in fields if field[0].lower() not in ("traceparent", "tracestate")]
    return [*fields, ("X-Forwarded-For", forwarded_for), ("X-Request-Id", request_id)]


def answer_headers(given: Iterable[tuple[str, str]]) -> Fields:
    """What callers get to see of a service's headers, without those that the gateway says itself."""
    return [
        field
        for lower, field in _end_to_end(given)
        if lower not in _NOT_FROM_SERVICES and not lower.startswith("access-control-")
    ]


def _end_to_end(given: Iterable[tuple[str, str]]) -> Iterator[tuple[str, tuple[str, str]]]:
    fields = [(_lower(field[0]), field) for field in given]
    named = {one.strip().lower() for lower, field in fields if lower == "connection" for one in field[1].split(",")}
    for lower, field in fields:
        if lower and lower not in _HOP_BY_HOP and lower not in named:
            value = field[1]
            if value.isprintable() or not _BROKEN_VALUE.search(value):
                yield lower, field


@lru_cache(maxsize=1024)
def _lower(name: str) -> str:
    """The name in lower case; empty for one that is not passed on."""
    return name.lower() if _NAME.fullmatch(name) else ""


def forwarded_for(peer: str, offered: list[str], trusted: tuple[Network, ...]) -> str:
    """The caller's address, then the trusted proxies it came through, the last of them being the `peer`.

    Read from the right: an address is believed only if a trusted proxy wrote it down. `offered` are the values of
    `X-Forwarded-For` as they came.
    """
    hops = [peer]
    claimed = [one.strip() for field in offered for one in field.split(",")]
    while claimed and is_trusted(hops[0], trusted) and _is_address(claimed[-1]):
        hops.insert(0, claimed.pop())
    return ", ".join(hops)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    """Whether an IP address is one of these proxies'."""
    if not trusted or not address:
        return False
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped  # how a socket for both versions shows an IPv4 peer
    return any(parsed in network for network in trusted)

"""Header fields: which go on, in either direction, and what `X-Forwarded-For` may say. Pure."""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from multidict import CIMultiDictProxy

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
SINGLE = frozenset(
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
_SINGLE_IN_ANSWERS = frozenset(
    {
        "age",
        "content-disposition",
        "content-location",
        "content-range",
        "content-type",
        "date",
        "etag",
        "expires",
        "last-modified",
        "location",
        "retry-after",
    }
)
# W3C Trace Context, 3.2; neither id may be all zeros.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACE = frozenset({"traceparent", "tracestate"})
# `X_Forwarded_For` and its like have passed for their twins with a dash (CVE-2025-64484).
_NAME = re.compile(r"[A-Za-z0-9-]+")
# The forms of RFC 7239, 6: with a port, or an IPv6 address in brackets; Azure's gateways write the first.
_WITH_PORT = re.compile(r"(?:(?P<v4>[0-9.]+):[0-9]{1,5}|\[(?P<v6>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?)")
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
        kind = _kind_of(name)
        if kind.is_single:
            if kind.lower in seen:
                raise InvalidHeader(f"The header {kind.lower} may be there once.")
            seen.add(kind.lower)


def has_repeats(offered: CIMultiDictProxy[str]) -> bool:
    """Whether a name is there twice, which `check_headers` may refuse; for hits, at a quarter of its price.

    aiohttp's parser gives the names that it knows one spelling; of those that may be there once it knows all but this.
    """
    return len(set(offered)) < len(offered) or ("traceparent" in offered and len(offered.getall("traceparent")) > 1)


def request_headers(offered: Iterable[tuple[str, str]], forwarded_for: str, request_id: str) -> Fields:
    """What a service gets to see of a caller's headers; ours come last, so that `Connection` cannot name them."""
    fields = []
    is_traced = has_trace = False
    for kind, field in _end_to_end(offered):
        if not kind.is_from_callers:
            continue
        if kind.lower == "traceparent":
            is_traced = _TRACEPARENT.fullmatch(field[1]) is not None
        has_trace = has_trace or kind.lower in _TRACE
        fields.append(field)
    if has_trace and not is_traced:
        fields = [field for field in fields if field[0].lower() not in _TRACE]
    return [*fields, ("X-Forwarded-For", forwarded_for), ("X-Request-Id", request_id)]


def with_one_reading(given: Fields, arrived: str) -> Fields:
    """A service's headers: of each that may be there once the first, and `arrived` as `Date` where it said none.

    `arrived` is the HTTP date of the answer's coming (RFC 9110, 6.6.1).
    """
    names = [name.lower() for name, _ in given]
    if len(set(names)) < len(names):
        first = {name: number for number, name in reversed([*enumerate(names)])}
        given = [
            field
            for number, (name, field) in enumerate(zip(names, given, strict=True))
            if first[name] == number or name not in _SINGLE_IN_ANSWERS
        ]
    return given if "date" in names else [*given, ("Date", arrived)]


def answer_headers(given: Iterable[tuple[str, str]]) -> Fields:
    """What callers get to see of a service's headers, without those that the gateway says itself."""
    return [field for kind, field in _end_to_end(given) if kind.goes_to_callers]


def answer_lines(given: Collection[tuple[str, str]]) -> str:
    """`answer_headers` as they go out."""
    lines = []
    for name, value in given:
        kind = _kind_of(name)
        if kind.goes_to_callers:
            if value.isprintable() or not _BROKEN_VALUE.search(value):
                lines.append(f"{name}: {value}\r\n")
        elif kind.lower == "connection":  # it may name others
            return "".join([f"{name}: {value}\r\n" for name, value in answer_headers(given)])
    return "".join(lines)


class _Kind(NamedTuple):
    """What there is to know of a header by its name."""

    lower: str
    is_single: bool
    is_end_to_end: bool
    is_from_callers: bool
    goes_to_callers: bool


@lru_cache(maxsize=1024)
def _kind_of(name: str) -> _Kind:
    # Of each name once: on the way through the gateway a header costs one look-up here.
    lower = name.lower() if _NAME.fullmatch(name) else ""
    return _Kind(
        lower,
        is_single=lower in SINGLE,
        is_end_to_end=lower != "" and lower not in _HOP_BY_HOP,
        is_from_callers=lower not in _NOT_FROM_CALLERS and not lower.startswith(_NOT_FROM_CALLERS_BEGIN),
        goes_to_callers=(
            lower != ""
            and lower not in _HOP_BY_HOP
            and lower not in _NOT_FROM_SERVICES
            and not lower.startswith("access-control-")
        ),
    )


def _end_to_end(given: Iterable[tuple[str, str]]) -> list[tuple[_Kind, tuple[str, str]]]:
    """Those that speak of the message, and can be written again."""
    kept = []
    named: set[str] = set()
    for field in given:
        kind = _kind_of(field[0])
        value = field[1]
        if kind.is_end_to_end:
            if value.isprintable() or not _BROKEN_VALUE.search(value):
                kept.append((kind, field))
        elif kind.lower == "connection":
            named.update(one.strip().lower() for one in value.split(","))
    return [one for one in kept if one[0].lower not in named] if named else kept


def forwarded_for(peer: str, offered: list[str], trusted: tuple[Network, ...]) -> str:
    """The caller's address, then the trusted proxies it came through, the last of them being the `peer`.

    Read from the right: an address is believed only if a trusted proxy wrote it down. `offered` are the values of
    `X-Forwarded-For` as they came; some proxies write the caller's port behind the address, which is left out here.
    """
    hops = [peer]
    claimed = [one.strip() for field in offered for one in field.split(",")]
    while claimed and is_trusted(hops[0], trusted) and (address := _address_in(claimed.pop())):
        hops.insert(0, address)
    return ", ".join(hops)


def _address_in(text: str) -> str:
    """The address alone, of one with or without a port; empty where there is none."""
    with_port = _WITH_PORT.fullmatch(text)
    address = with_port["v4"] or with_port["v6"] if with_port else text
    try:
        ip_address(address)
    except ValueError:
        return ""
    return address


def is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    """Whether an IP address is one of these proxies'."""
    if not trusted or not address:
        return False
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped  # how a socket for both versions shows an IPv4 peer
    return any(parsed in network for network in trusted)

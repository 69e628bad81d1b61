"""Header fields: which go on, in either direction, and what `X-Forwarded-For` may say. Pure."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from multidict import CIMultiDict, CIMultiDictProxy

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
# Made anew for the next hop, or nothing that a caller can know.
_NOT_FROM_CALLERS = frozenset({"content-length", "expect", "forwarded", "host", "x-real-ip", "x-request-id"})
# `X_Forwarded_For` and its like have passed for their twins with a dash (CVE-2025-64484).
_NAME = re.compile(r"[A-Za-z0-9-]+")
# What came as bytes that are no UTF-8 is held as surrogates, and cannot be written again.
_BROKEN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def request_headers(offered: CIMultiDictProxy[str], forwarded_for: str, request_id: str) -> CIMultiDict[str]:
    """What a service gets to see of a caller's headers; ours come last, so that `Connection` cannot name them."""
    headers = CIMultiDict(
        (name, value)
        for name, value in _end_to_end(offered)
        if name.lower() not in _NOT_FROM_CALLERS and not name.lower().startswith("x-forwarded-")
    )
    headers["X-Forwarded-For"] = forwarded_for
    headers["X-Request-Id"] = request_id
    return headers


def answer_headers(given: CIMultiDictProxy[str], request_id: str) -> CIMultiDict[str]:
    """What a caller gets to see of a service's headers."""
    headers = CIMultiDict(_end_to_end(given))
    headers["Server"] = "wegit"
    if "Transfer-Encoding" in given:
        headers.popall("Content-Length", None)  # RFC 9112, 6.3: then it says nothing, or lies
    headers["X-Request-Id"] = request_id
    return headers


def _end_to_end(given: CIMultiDictProxy[str]) -> Iterator[tuple[str, str]]:
    named = {one.strip().lower() for field in given.getall("Connection", ()) for one in field.split(",")}
    for name, value in given.items():
        if name.lower() in _HOP_BY_HOP or name.lower() in named:
            continue
        if _NAME.fullmatch(name) and not _BROKEN_VALUE.search(value):
            yield name, value


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

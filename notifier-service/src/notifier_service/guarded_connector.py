"""Connections for addresses that subscribers give: nothing inside our own network can be reached through them.

What is checked is the very address that is about to be connected to, after names were resolved: a name that resolves
to something else the second time (DNS rebinding) and every spelling of an address come to the same check.
"""

import ipaddress
import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver

from service_kit.client import CONNECTION_LIMIT

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's metadata, although the address is public
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # among it Teredo, which carries an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4, which carries an IPv4 address
        "3fff::/20",
    )
)


class ForbiddenAddress(PermissionError):
    """The address is not on the public internet."""


def is_public(address: str) -> bool:
    """True for an address on the public internet; False for our own networks, in whichever form they are written."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        carried = parsed.ipv4_mapped
        if parsed in _NAT64:
            carried = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if carried is not None:
            parsed = carried
        elif parsed not in _GLOBAL_UNICAST or parsed.scope_id is not None:
            return False
    if parsed.is_multicast or not parsed.is_global:
        return False
    return not any(parsed.version == network.version and parsed in network for network in _REFUSED)


def guarded_connector(*, allow_private: bool, resolver: AbstractResolver | None = None) -> aiohttp.TCPConnector:
    """A connector that refuses with ForbiddenAddress (as the cause of a ClientConnectorError) what is not public."""
    return aiohttp.TCPConnector(
        limit=CONNECTION_LIMIT,
        resolver=resolver,
        use_dns_cache=False,
        socket_factory=_open if allow_private else _open_public,
    )


def _open(addr_info: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, _ = addr_info
    return socket.socket(family=family, type=kind, proto=protocol)


def _open_public(addr_info: tuple[Any, ...]) -> socket.socket:
    if not is_public(addr_info[4][0]):
        raise ForbiddenAddress("the address is not on the public internet")
    return _open(addr_info)


def was_forbidden(error: BaseException) -> bool:
    """True when this error, or what caused it, is that the address is not public."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ForbiddenAddress) or isinstance(getattr(cause, "os_error", None), ForbiddenAddress):
            return True
        cause = cause.__cause__
    return False

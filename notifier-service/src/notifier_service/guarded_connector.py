"""Connections for addresses that subscribers give: nothing inside our own network can be reached through them.

What is checked is the very address that is about to be connected to, after names were resolved: a name that resolves
to something else the second time (DNS rebinding) and every spelling of an address come to the same check.
"""

import ipaddress
import socket
from collections.abc import Callable

import aiohttp
from aiohappyeyeballs import AddrInfoType
from aiohttp.abc import AbstractResolver

from service_kit.client import CONNECTION_LIMIT, open_session
from service_kit.metrics import Metrics

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's metadata, although the address is public
        "192.0.0.0/24",  # for protocols, and Oracle's metadata; older Pythons know a part of it as private
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


def guarded_connector(
    allows: Callable[[str], bool] = is_public, resolver: AbstractResolver | None = None
) -> aiohttp.TCPConnector:
    """A connector that refuses with ForbiddenAddress (as the cause of a ClientConnectorError) what is not allowed."""

    def open_socket(addr_info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = addr_info
        if not allows(str(address[0])):
            raise ForbiddenAddress("the address is not on the public internet")
        return socket.socket(family=family, type=kind, proto=protocol)

    # Without a cache of names: who moves must not be told at the old place for a time that nobody chose.
    return aiohttp.TCPConnector(
        limit=CONNECTION_LIMIT, resolver=resolver, use_dns_cache=False, socket_factory=open_socket
    )


def open_guarded_session(metrics: Metrics, *, allow_private: bool, called: str) -> aiohttp.ClientSession:
    """A session for subscribers' addresses; proxies that the environment names are not asked, as by any session here.

    Paths are not logged, and metrics know all hosts as `called`.
    """
    connector = guarded_connector((lambda _: True) if allow_private else is_public)
    return open_session(metrics, checked=False, path_is_secret=True, connector=connector, called=called)


def was_forbidden(error: BaseException) -> bool:
    """True when this error, or what caused it, is that the address is not public."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ForbiddenAddress) or isinstance(getattr(cause, "os_error", None), ForbiddenAddress):
            return True
        cause = cause.__cause__
    return False

"""The public port's sockets: opened so that processes can share them, closed so that nobody who came is lost."""

import asyncio
import socket

from aiohttp import web

BACKLOG = 1024
"""Connections that the system may hold until they are taken."""


class Listener:
    """Takes connections for a runner, on each address of a host."""

    def __init__(self, runner: web.ServerRunner) -> None:
        self._runner = runner
        self._sites: list[tuple[web.SockSite, socket.socket]] = []

    async def open(self, host: str, port: int, *, is_shared: bool) -> None:
        """Begin; `is_shared` lets other processes listen there as well (SO_REUSEPORT).

        Raises SystemExit with one line when the port cannot be had.
        """
        try:
            for opened in await bind(host, port, is_shared=is_shared):
                # The copy keeps the system's queue when the loop has closed its own.
                copy = opened.dup()
                site = web.SockSite(self._runner, opened, backlog=BACKLOG)
                await site.start()
                self._sites.append((site, copy))
        except OSError as error:
            raise SystemExit(f"cannot listen on {host}:{port}: {error.strerror}") from None

    async def close(self) -> None:
        """Take no more connections, but for those the system has accepted already: closing alone would reset them."""
        loop = asyncio.get_running_loop()
        protocol_factory = self._runner.server
        assert protocol_factory is not None
        for site, copy in self._sites:
            await site.stop()
            accepted = _accept_all(copy)
            copy.close()
            for connection in accepted:
                await loop.connect_accepted_socket(protocol_factory, connection)
        self._sites.clear()


async def bind(host: str, port: int, *, is_shared: bool) -> list[socket.socket]:
    """Sockets on each address of the host. Raises OSError, also where another process has the port to itself."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened = []
    try:
        for family, address in dict.fromkeys((one[0], one[4]) for one in found):
            one = socket.socket(family, socket.SOCK_STREAM)
            opened.append(one)
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except OSError:
        for one in opened:
            one.close()
        raise
    return opened


def _accept_all(listening: socket.socket) -> list[socket.socket]:
    accepted: list[socket.socket] = []
    while True:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return accepted
        except OSError:  # one that is gone again, or no file left for it
            continue
        connection.setblocking(False)
        accepted.append(connection)

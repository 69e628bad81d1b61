"""A service's name and the replicas behind it: bare sockets at 127.0.0.1, 127.0.0.2 …, on one port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.hop.hop import Hop
from tests.fakes.raw_upstream import OK, RawUpstream, raw_upstream, sends

NAME = "repo-service.test"


class Names:
    """A resolver that says what it is told to: addresses, an error to raise, or nothing for a long time."""

    def __init__(self, addresses: list[str]) -> None:
        self.says: list[str] | OSError | None = addresses
        self.asked = 0
        self.waiting = 0
        self.may_go_on = asyncio.Event()

    async def __call__(self, host: str) -> list[str]:
        """As `gateway.hop.resolver.look_up`; where nothing is to be said, it waits for `may_go_on`."""
        assert host == NAME
        self.asked += 1
        said = self.says
        if said is None:
            self.waiting += 1
            await self.may_go_on.wait()
            self.waiting -= 1
            said = []
        if isinstance(said, OSError):
            raise said
        return said


class NamedReplicas:
    """The hop, the sockets by their address, and what the name stands for."""

    def __init__(self, hop: Hop, upstreams: dict[str, RawUpstream], names: Names, port: int) -> None:
        self.hop = hop
        self.upstreams = upstreams
        self.names = names
        self.port = port

    @property
    def asked(self) -> list[int]:
        """How many requests came to each so far."""
        return [upstream.asked for upstream in self.upstreams.values()]

    @property
    def states(self) -> dict[str, str]:
        """Each replica's state, by its address without the port."""
        return {one.address.partition(":")[0]: one.state for one in self.hop.replicas()}


@asynccontextmanager
async def named_replicas(count: int, *, known: int | None = None) -> AsyncIterator[NamedReplicas]:
    """Start so many sockets that answer `[]`, and a hop that has been told of the first `known` of them."""
    async with AsyncExitStack() as stack:
        upstreams: dict[str, RawUpstream] = {}
        port = 0
        for number in range(1, count + 1):
            host = f"127.0.0.{number}"
            upstreams[host] = await stack.enter_async_context(raw_upstream(sends(OK), host, port))
            port = upstreams[host].port
        names = Names(list(upstreams)[: count if known is None else known])
        hop = Hop("repo-service", f"http://{NAME}:{port}", names)
        await hop.start()
        stack.push_async_callback(hop.close)
        yield NamedReplicas(hop, upstreams, names, port)

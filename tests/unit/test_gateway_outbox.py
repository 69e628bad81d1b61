"""Writes that are made together: in their order, soon, and none to a transport that is closed by then."""

import asyncio

from gateway.outbox import LIMIT_BYTES, Outbox


class Transport(asyncio.Transport):
    def __init__(self, written: list[tuple[str, bytes]], name: str) -> None:
        super().__init__()
        self.is_closed = False
        self._written = written
        self._name = name

    def is_closing(self) -> bool:
        return self.is_closed

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._written.append((self._name, bytes(data)))


async def test_writes_are_made_at_the_turns_end_in_their_order() -> None:
    written: list[tuple[str, bytes]] = []
    one, other = Transport(written, "one"), Transport(written, "other")
    outbox = Outbox()
    for transport, data in ((one, b"1"), (other, b"2"), (one, b"3")):
        outbox.write(transport, data)
    assert written == []
    await asyncio.sleep(0)
    assert written == [("one", b"1"), ("other", b"2"), ("one", b"3")]
    outbox.write(one, b"4")
    await asyncio.sleep(0)
    assert written[3:] == [("one", b"4")]


async def test_what_is_closed_meanwhile_is_written_nothing() -> None:
    written: list[tuple[str, bytes]] = []
    transport = Transport(written, "one")
    outbox = Outbox()
    outbox.write(transport, b"1")
    transport.is_closed = True
    await asyncio.sleep(0)
    assert written == []


async def test_much_is_not_held_back() -> None:
    written: list[tuple[str, bytes]] = []
    transport = Transport(written, "one")
    outbox = Outbox()
    outbox.write(transport, b"1")
    outbox.write(transport, b"x" * LIMIT_BYTES)
    assert [len(data) for _, data in written] == [1, LIMIT_BYTES]
    await asyncio.sleep(0)
    assert len(written) == 2

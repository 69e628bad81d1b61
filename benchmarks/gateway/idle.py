"""What a connection costs that only stays open: a phone keeps one for a minute after it has asked."""

import asyncio
import resource
from urllib.parse import urlsplit

from benchmarks.gateway.aims import CONNECTION, Aim
from benchmarks.gateway.callers import request
from benchmarks.gateway.rates import HIT_PATH
from benchmarks.gateway.servers import GATEWAY, Servers, settle
from benchmarks.table import format_table, say

COUNT = 10_000
AT_ONCE = 100
SPARE_FILES = 500


async def measure_idle(servers: Servers) -> tuple[str, dict[Aim, float]]:
    """A table, and the KB of one of 10,000 connections, or as many as this process may have open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count = min(COUNT, most - SPARE_FILES)
    parts = urlsplit(servers.urls[GATEWAY])
    writers: list[asyncio.StreamWriter] = []

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writers.append(writer)
        writer.write(request(parts.netloc, HIT_PATH, len(writers)))
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))

    say(f"gateway: {count} connections that stay open")
    try:
        for _ in range(AT_ONCE):  # what the first ones need is not the connection's
            await ask()
        await settle()
        before = servers.resident_bytes(GATEWAY)
        for _ in range((count - AT_ONCE) // AT_ONCE):
            await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
        await settle()
        grown = servers.resident_bytes(GATEWAY) - before
        await ask()  # it still answers
    finally:
        for writer in writers:
            writer.transport.abort()
    each_kb = grown / (len(writers) - AT_ONCE) / 1024
    rows = [[str(count), f"{before / 1024**2:.1f}", f"{(before + grown) / 1024**2:.1f}", f"{each_kb:.1f}"]]
    columns = ("connections", "MB before", "MB with them", "KB each")
    return format_table("Connections that have asked once and stay open", columns, rows), {CONNECTION: each_kb}

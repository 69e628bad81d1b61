"""What copies in the process weigh: what MemoryCache believes, beside what Python and the system say.

Run as a module it is the process that is measured: nothing else has been in it.
"""

import argparse
import asyncio
import gc
import json
import sys
import tracemalloc
from array import array
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import cycle
from typing import Any

import msgspec
import psutil

from benchmarks.table import format_table, say
from github_client.cache import MEMORY_LIMIT_BYTES, Copy, MemoryCache, pack
from github_client.models import Developer, Event, Repository, SearchResult
from local.imitation_github import deeds, events, readme
from local.imitation_github.app import SEED
from local.imitation_github.creation import make_world
from local.imitation_github.credentials import Caller
from local.imitation_github.objects import View, account_full, repository_full, repository_summary
from tests.fakes.clock import START

OFFERED = 100_000
NO_LIMIT_BYTES = 1 << 40
SAMPLES = 100
PER_PAGE = 30
SHARES = {"repository": 60, "readme": 15, "developer": 15, "events": 7, "search": 3}
"""In percent; a guess of what people look at."""
PARTS = ("kept", "believed_bytes", "traced_bytes", "resident_bytes", "content_bytes")
COLUMNS = ("limit MB", "offered", "kept", "MB believed", "MB in Python", "MB resident", "bytes each besides content")


async def measure_cache_memory(rounds: int) -> str:
    """A table in MB of 1024 x 1024 bytes: with the service's limit, and with none.

    Believed: `MemoryCache.size_bytes`. In Python: growth of what tracemalloc counts. Resident: growth of the process's
    RSS, in another process, because tracing takes memory itself; the largest of some. Content: keys and packed bodies.
    """
    rows = []
    for limit_bytes in (MEMORY_LIMIT_BYTES, NO_LIMIT_BYTES):
        say(f"cache-memory: {OFFERED} copies offered, tracing")
        traced = await _measure_apart(limit_bytes, "--traced")
        resident_bytes = 0
        for number in range(rounds):
            say(f"cache-memory: {OFFERED} copies offered, round {number + 1} of {rounds}")
            resident_bytes = max(resident_bytes, (await _measure_apart(limit_bytes))["resident_bytes"])
        limit = "none" if limit_bytes == NO_LIMIT_BYTES else f"{limit_bytes / 1024**2:.0f}"
        sizes = (traced["believed_bytes"], traced["traced_bytes"], resident_bytes)
        besides = (traced["traced_bytes"] - traced["content_bytes"]) / traced["kept"]
        rows.append(
            [limit, str(OFFERED), str(traced["kept"]), *(f"{size / 1024**2:.1f}" for size in sizes), f"{besides:.0f}"]
        )
    return format_table("Memory of copies in the process; aim: within the limit", COLUMNS, rows)


async def _measure_apart(limit_bytes: int, *arguments: str) -> dict[str, int]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.cache_memory",
        str(limit_bytes),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise OSError("the process to be measured failed")
    told: dict[str, int] = json.loads(output)
    return told


def main() -> None:
    """Offer copies to a cache and print what it weighs then, as JSON, in bytes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("limit_bytes", type=int)
    parser.add_argument("--traced", action="store_true")
    arguments = parser.parse_args()
    copies = _copies()
    memory = MemoryCache(arguments.limit_bytes)
    sizes = array("L", [0]) * OFFERED
    gc.collect()
    if arguments.traced:
        tracemalloc.start()
    resident_before = psutil.Process().memory_info().rss
    _offer(memory, copies, sizes)
    gc.collect()
    resident_bytes = psutil.Process().memory_info().rss - resident_before
    traced_bytes = tracemalloc.get_traced_memory()[0] if arguments.traced else 0
    # The least recently used went first: the last ones are those that are kept.
    content_bytes = sum(sizes[-len(memory) :])
    figures = (len(memory), memory.size_bytes, traced_bytes, resident_bytes, content_bytes)
    print(json.dumps(dict(zip(PARTS, figures, strict=True))))


def _offer(memory: MemoryCache, copies: Iterator[tuple[str, bytes]], sizes: "array[int]") -> None:
    """Put all in, and note the size of each. Every text is one of its own, as when a copy comes from Postgres."""
    for number, (kind, packed) in zip(range(OFFERED), copies, strict=False):
        copy = Copy(
            status=200,
            packed=bytes(bytearray(packed)),
            as_of=START + timedelta(seconds=number),
            confirmed_seconds=1000.0 + number,
            etag=f'W/"{number:064x}"',
            credential=f"{number:064x}",
        )
        key = f"{kind} /repos/some-owner/some-name-{number}? application/vnd.github+json"
        memory.put(key, copy)
        sizes[number] = len(key) + len(packed)


def _copies() -> Iterator[tuple[str, bytes]]:
    """Kind and packed body, for ever, in SHARES: the imitation's answers as we read and keep them."""
    view = View(make_world(SEED), "https://api.github.com", START, Caller("anonymous"))
    repositories = [one for one in view.world.repositories if not one.private]
    people = [account for account in view.world.accounts if account.type == "User"]

    def found(place: int) -> dict[str, Any]:
        page = repositories[place : place + PER_PAGE]
        return {
            "total_count": 1000,
            "incomplete_results": False,
            "items": [{**repository_summary(view, one), "score": 1.0} for one in page],
        }

    def text(place: int) -> str:
        written = readme.readme_of(repositories[place])
        return written.text if written else ""

    make: dict[str, Callable[[int], bytes]] = {
        "repository": lambda place: _read(repository_full(view, repositories[place]), Repository),
        "readme": lambda place: _read(text(place), str),
        "developer": lambda place: _read(account_full(view, people[place]), Developer),
        "events": lambda place: _read(
            [events.event(view, deed) for deed in deeds.done_by(view, people[place])[:PER_PAGE]], list[Event]
        ),
        "search": lambda place: _read(found(place), SearchResult[Repository]),
    }
    samples = {kind: cycle([made(place) for place in range(SAMPLES)]) for kind, made in make.items()}
    order: Sequence[str] = [kind for kind, share in SHARES.items() for _ in range(share)]
    # 37 and 100 have no common divisor: every kind comes in its share, and mixed.
    return ((kind, next(samples[kind])) for kind in cycle(order[number * 37 % 100] for number in range(100)))


def _read(body: Any, wanted: Any) -> bytes:
    return pack(msgspec.json.encode(msgspec.json.decode(json.dumps(body), type=wanted)))


if __name__ == "__main__":
    main()

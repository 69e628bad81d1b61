"""What an answer from a copy costs: the look-up alone, the copy in Postgres, and the whole request."""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import aiohttp

from benchmarks.load import Way, compare
from benchmarks.look_up import measure_look_ups
from benchmarks.system import Ground
from benchmarks.table import say
from local import stack
from local.supervisor import Process

CONCURRENCIES = (1, 32)
TARGET = "/v1/repositories/mira-tallow/lantern"


async def measure_hit(ground: Ground, rounds: int) -> str:
    """Three tables: µs of a look-up and of a copy from Postgres, then the whole request, 1 and 32 at a time."""
    async with ground.running_postgres() as database_url:
        look_ups = await measure_look_ups(database_url, rounds)
    with tempfile.TemporaryDirectory(prefix="wegit-") as folder:
        return "\n".join([look_ups, *await _measure_requests(ground, Path(folder) / "body", rounds)])


async def _measure_requests(ground: Ground, body: Path, rounds: int) -> list[str]:
    """The same bytes from a bare handler in bare aiohttp, from one in our application, and from repo-service."""
    plain_port, kit_port = stack.free_ports(2)
    beside = [
        _bare("bare aiohttp", body, plain_port, ["--plain", str(plain_port)], None),
        _bare("bare handler, our app", body, kit_port, [], "/health/ready"),
    ]
    say("hit: starting the servers")
    async with ground.running_replicas(1, beside) as replicas:
        async with aiohttp.ClientSession() as session, session.get(f"{replicas.urls[0]}{TARGET}") as response:
            response.raise_for_status()
            size = await asyncio.to_thread(body.write_bytes, await response.read())
        ports = {beside[0].name: plain_port, beside[1].name: kit_port}
        ways = {
            name: Way(f"http://{stack.LOOPBACK}:{port}{TARGET}", [replicas.process_ids[name]])
            for name, port in ports.items()
        }
        ways["repo-service"] = Way(f"{replicas.urls[0]}{TARGET}", [replicas.process_ids["repo-service 1"]])
        title = f"A hit, the whole request ({size} bytes; aim: 0.6 of bare aiohttp's requests/s)"
        return [
            await compare(title, ways, ["server"], concurrency=concurrency, rounds=rounds)
            for concurrency in CONCURRENCIES
        ]


def _bare(name: str, body: Path, port: int, arguments: Sequence[str], ready_path: str | None) -> Process:
    return Process(
        name,
        [sys.executable, "-m", "benchmarks.bare", *arguments, str(body)],
        {"HOST": stack.LOOPBACK, "PORT": str(port), "LOG_FORMAT": "json"},
        partial(stack.answers, stack.LOOPBACK, port, ready_path),
        options={"cwd": Path(__file__).parents[1]},
    )

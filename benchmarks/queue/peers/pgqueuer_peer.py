"""pgqueuer at its best: asyncpg's pool and uvloop. Runs in the peers' environment: ACTION and its arguments."""

import asyncio
import json
import os
import sys
import time

import asyncpg
import uvloop
from pgqueuer.core.qm import QueueManager
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

BATCH = 1000


async def main(action: str, count: int, batch: int) -> None:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=4, max_size=10) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))
        if action == "install":
            await queries.install()
        elif action == "empty":
            await queries.clear_queue()
            await queries.clear_queue_log()
        elif action in ("enqueue", "enqueue-keys"):
            await enqueue(queries, count, with_keys=action == "enqueue-keys")
        elif action == "trickle":
            await trickle(queries, count)
        else:
            await work(QueueManager(queries), count, batch, listens=action == "listen")


async def enqueue(queries: Queries, count: int, *, with_keys: bool) -> None:
    started = time.perf_counter()
    for first in range(0, count, BATCH):
        numbers = range(first, first + BATCH)
        payloads = [b'{"n": %d, "text": "hello there"}' % n for n in numbers]
        keys = [f"key-{n}" for n in numbers] if with_keys else None
        await queries.enqueue(["noop"] * BATCH, payloads, [0] * BATCH, dedupe_key=keys)
    print(json.dumps({"seconds": time.perf_counter() - started}))


async def trickle(queries: Queries, count: int) -> None:
    for _ in range(count):
        await queries.enqueue("noop", b"%f" % time.time())
        await asyncio.sleep(0.02)


async def work(manager: QueueManager, count: int, batch: int, *, listens: bool) -> None:
    began = 0.0
    done = 0
    waited: list[float] = []

    @manager.entrypoint("noop")
    async def noop(job) -> None:
        nonlocal began, done
        if listens:
            waited.append(time.time() - float(job.payload))
        began = began or time.perf_counter()
        done += 1
        if done == count:
            manager.shutdown.set()  # run() ends when the completions are written

    cpu = time.process_time()
    await manager.run(batch_size=batch, mode=QueueExecutionMode.continuous)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "cpu": time.process_time() - cpu, "waited": waited}))


if __name__ == "__main__":
    action, count, batch = [*sys.argv[1:], "0", "500"][:3] if len(sys.argv) != 3 else [*sys.argv[1:], "500"]
    uvloop.run(main(action, int(count), int(batch)))

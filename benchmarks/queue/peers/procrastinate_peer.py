"""procrastinate on our driver: its aiopg connector, 24 at a time. Runs in the peers' environment: ACTION COUNT."""

import asyncio
import json
import logging
import os
import sys
import time

from procrastinate import App
from procrastinate.contrib.aiopg import AiopgConnector

BATCH = 1000
CONCURRENCY = 24

logging.disable(logging.CRITICAL)
app = App(connector=AiopgConnector(dsn=os.environ["DATABASE_URL"], minsize=4, maxsize=CONCURRENCY + 4))
began: list[float] = []


@app.task(name="noop")
async def noop(**_payload: object) -> None:
    if not began:
        began.append(time.perf_counter())


async def main(action: str, count: int) -> None:
    async with app.open_async():
        if action == "install":
            await app.schema_manager.apply_schema_async()
        elif action == "empty":
            await app.connector.execute_query_async("truncate procrastinate_jobs cascade")
        elif action in ("enqueue", "enqueue-keys"):
            started = time.perf_counter()
            for first in range(0, count, BATCH):
                numbers = range(first, first + BATCH)
                if action == "enqueue-keys":
                    deferrers = {n: noop.configure(queueing_lock=f"key-{n}") for n in numbers}
                    jobs = [one.job.evolve(task_kwargs={"n": n, "text": "hello there"}) for n, one in deferrers.items()]
                    await app.job_manager.batch_defer_jobs_async(jobs)
                else:
                    await noop.batch_defer_async(*({"n": n, "text": "hello there"} for n in numbers))
            print(json.dumps({"seconds": time.perf_counter() - started}))
        else:
            cpu = time.process_time()
            await app.run_worker_async(
                wait=False, concurrency=CONCURRENCY, delete_jobs="always", install_signal_handlers=False
            )
            seconds = time.perf_counter() - began[0]
            print(json.dumps({"seconds": seconds, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    action, count = [*sys.argv[1:], "0"][:2]
    asyncio.run(main(action, int(count)))

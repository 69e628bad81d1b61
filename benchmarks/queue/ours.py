"""The notifier's queue as the one that is measured: a process of its own, ACTION and its arguments; prints JSON."""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
import uvloop
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from notifier_service.deliveries import Deliveries
from notifier_service.fan_out import BEGIN, FanOut
from notifier_service.metrics import QueueMetrics
from notifier_service.models import Answer, Claimed, Delivered
from notifier_service.own_connection import OwnConnection
from notifier_service.queue import PLANNER
from service_kit.database import Database
from service_kit.encryption import Encryption

BATCH = 1000
TRICKLE_SECONDS = 0.02
TOPIC = "noop"


class NoOp:
    """A channel that sends nothing, and keeps how long each message took to come here."""

    name = "noop"
    timeout_seconds = 5.0
    concurrency = 200

    def __init__(self) -> None:
        self.began = 0.0
        self.count = 0
        self.waited: list[float] = []

    async def send(self, claimed: Claimed) -> Answer:
        self.began = self.began or time.perf_counter()
        self.count += 1
        if "at" in claimed.body:
            self.waited.append(time.time() - float(claimed.body["at"]))
        return Delivered(200)


async def main(action: str, count: int) -> None:
    """Do one thing in the database that DATABASE_URL names."""
    database = Database(SecretStr(os.environ["DATABASE_URL"]), "benchmark")
    await database.open()
    connection = OwnConnection(database, PLANNER)
    registry = CollectorRegistry()
    metrics = QueueMetrics(registry)
    try:
        if action == "empty":
            await empty(connection)
        elif action in ("enqueue", "enqueue-keys"):
            print(json.dumps({"seconds": await _enqueue(connection, count, with_keys=action == "enqueue-keys")}))
        elif action == "fan-out":
            started = time.perf_counter()
            await FanOut(OwnConnection(database, PLANNER, BEGIN), metrics, lambda: None).fan_out()
            print(json.dumps({"seconds": time.perf_counter() - started}))
        elif action == "trickle":
            for _ in range(count):
                await connection.rows("select enqueue_notification(%s, %s)", (TOPIC, json.dumps({"at": time.time()})))
                await asyncio.sleep(TRICKLE_SECONDS)
        else:
            recorded = partial(_recorded_by_all, connection) if action == "share" else partial(_recorded, registry)
            await _work(database, metrics, count, recorded)
    finally:
        connection.close()
        await database.close()


async def empty(connection: OwnConnection) -> None:
    """One endpoint that subscribes to everything, and nothing to tell it."""
    await connection.rows("truncate message, fan_out, delivery, delivery_record, told")
    await connection.rows("delete from endpoint")
    await connection.rows(
        "with made as (insert into endpoint (channel) values ('noop') returning id)"
        " insert into subscription (endpoint_id, topic) select id, %s from made",
        (TOPIC,),
    )


async def _enqueue(connection: OwnConnection, count: int, *, with_keys: bool) -> float:
    await connection.rows("select 1")  # connected, as the peers are
    started = time.perf_counter()
    for first in range(0, count, BATCH):
        numbers = range(first, first + BATCH)
        bodies = [f'{{"n": {n}, "text": "hello there"}}' for n in numbers]
        keys = [f"key-{n}" for n in numbers] if with_keys else None
        await connection.rows(
            "select count(*) from enqueue_notifications(%s, %s::jsonb[], %s::text[])",
            (TOPIC, _array(bodies), keys and _array(keys)),
        )
    return time.perf_counter() - started


def _array(texts: list[str]) -> str:
    """As Postgres writes an array of texts: the driver would make an expression of it, an element at a time."""
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in escaped) + "}"


async def _work(
    database: Database, metrics: QueueMetrics, count: int, recorded: Callable[[], Awaitable[float]]
) -> None:
    """Deliver until so many are `recorded`: everything on that a replica has."""
    channel = NoOp()
    deliveries = Deliveries(
        database, [channel], Encryption(SecretStr("not a secret " * 3), "endpoints"), metrics, _fail
    )
    cpu = time.process_time()
    async with deliveries.running():
        while await recorded() < count:
            await asyncio.sleep(0.005)
    seconds = time.perf_counter() - channel.began
    print(json.dumps({
        "seconds": seconds, "cpu": time.process_time() - cpu, "waited": channel.waited,
        "count": channel.count,
    }))  # fmt: skip


async def _recorded(registry: CollectorRegistry) -> float:
    """How many endings this process has written."""
    labels = {"channel": NoOp.name, "outcome": "delivered"}
    return registry.get_sample_value("delivery_outcomes_total", labels) or 0.0


async def _recorded_by_all(connection: OwnConnection) -> float:
    """How many endings all replicas have written; not asked too often, as the database has other things to do."""
    await asyncio.sleep(0.05)
    [(count,)] = await connection.rows("select count(*) from delivery_record")
    return float(count)


def _fail(error: BaseException) -> None:
    raise error


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    action, count = [*sys.argv[1:], "0"][:2]
    uvloop.run(main(action, int(count)))

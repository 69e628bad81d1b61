"""Webhook deliveries as a replica makes them, to a receiver here: a process of its own, ACTION, COUNT and PORT.

`deliver` goes through the queue with all that a replica has, its log included; `bare` posts the same from memory with
aiohttp alone. Prints JSON.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import aiohttp
import uvloop
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from notifier_service.channels.channel import Means
from notifier_service.channels.webhook import open_webhook
from notifier_service.deliveries import Deliveries
from notifier_service.fan_out import FanOut
from notifier_service.metrics import QueueMetrics
from notifier_service.own_connection import OwnConnection
from notifier_service.settings import NotifierSettings
from notifier_service.subscriptions import ENCRYPTION_PURPOSE
from service_kit.database import Database
from service_kit.encryption import Encryption
from service_kit.logging import configure_logging
from service_kit.metrics import Metrics

ENDPOINTS = 8
"""One alone gets a quarter of the hands."""
CONCURRENCY = 200
TOPIC = "noop"
KEY = SecretStr("not a secret " * 3)
SECRET = "whsec_" + "A" * 43 + "="
BODY = {"n": 1, "text": "x" * 300}
"""As much as a repository that trends."""


async def bare(count: int, port: int) -> float:
    """Post as often with nothing around it; seconds."""
    numbers = iter(range(count))
    body = json.dumps({"type": TOPIC, "data": BODY}).encode()
    async with aiohttp.ClientSession() as session:

        async def post() -> None:
            for _ in numbers:
                async with session.post(f"http://127.0.0.1:{port}/", data=body) as answer:
                    await answer.read()

        started = time.perf_counter()
        await asyncio.gather(*(post() for _ in range(CONCURRENCY)))
        return time.perf_counter() - started


async def deliver(count: int, port: int) -> float:
    """Fill the queue, then deliver it; seconds from the start of the deliverer to the last record."""
    url = SecretStr(os.environ["DATABASE_URL"])
    database = Database(url, "benchmark")
    await database.open()
    connection = OwnConnection(database)
    encryption, metrics = Encryption(KEY, ENCRYPTION_PURPOSE), QueueMetrics(CollectorRegistry())
    try:
        await _fill(connection, encryption, count, port)
        await FanOut(connection, metrics, lambda: None).fan_out()
        settings = NotifierSettings(database_url=url, secret_key=KEY, webhook_private_addresses=True)
        async with open_webhook(Means(settings, database, Metrics())) as channel:
            deliveries = Deliveries(database, [channel], encryption, metrics, _fail)
            started = time.perf_counter()
            async with deliveries.running():
                recorded = 0
                while recorded < count:
                    await asyncio.sleep(0.02)
                    [(recorded,)] = await connection.rows(
                        "select count(*) from delivery_record where outcome = 'delivered'"
                    )
                return time.perf_counter() - started
    finally:
        connection.close()
        await database.close()


async def _fill(connection: OwnConnection, encryption: Encryption, count: int, port: int) -> None:
    await connection.rows("truncate message, fan_out, delivery, delivery_record, told")
    await connection.rows("delete from endpoint")
    for number in range(ENDPOINTS):
        await connection.rows(
            """with made as (
                insert into endpoint (channel, address_encrypted, secret_encrypted)
                values ('webhook', %s, %s) returning id
            ) insert into subscription (endpoint_id, topic) select id, %s from made""",
            (encryption.encrypt(f"http://127.0.0.1:{port}/{number}"), encryption.encrypt(SECRET), TOPIC),
        )
    await connection.rows(
        "select count(*) from enqueue_notifications(%s, array(select %s::jsonb from generate_series(1, %s)))",
        (TOPIC, json.dumps(BODY), count // ENDPOINTS),
    )


def _fail(error: BaseException) -> None:
    raise error


async def main() -> None:
    """Do it, and say how long it took and what it cost."""
    action, count, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cpu = time.process_time()
    seconds = await (deliver if action == "deliver" else bare)(count, port)
    print(json.dumps({"seconds": seconds, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        configure_logging("notifier-service", output=nowhere)
        uvloop.run(main())

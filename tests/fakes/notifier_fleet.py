"""Replicas of the notifier as real processes, the endpoints that they deliver to, and what must hold in the end."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from pydantic import SecretStr

from local.stack import free_ports
from service_kit.encryption import Encryption
from tests.fakes.ledger import Ledger
from tests.queue_database import QueueDatabase

SECRET_KEY = "a secret key of the fault tests' own"
TOPIC = "fault.test"


def settings(database_url: str) -> dict[str, str]:
    """What every process of the notifier is told."""
    return {"PATH": os.environ["PATH"], "DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY}


class Replica:
    """One notifier process; its log goes to a file."""

    def __init__(self, database_url: str, log: Path) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        environment = {**settings(database_url), "PORT": str(port), "WEBHOOK_PRIVATE_ADDRESSES": "true"}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "notifier_service"], env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        self.pid = self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    async def is_ready(self) -> bool:
        """Whether it says so."""
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{self.url}/health/ready", timeout=aiohttp.ClientTimeout(2)) as answer:
                    return answer.status == 200
            except (aiohttp.ClientConnectionError, TimeoutError):
                return False

    async def becomes_ready(self, seconds: float = 20) -> None:
        """Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not await self.is_ready():
                assert self.is_running, self.log.read_text()[-2000:]
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait, 20)


class Fleet:
    """A number of replicas, and the endpoints and subscriptions of one topic."""

    def __init__(self, database_url: str, ledger: Ledger, folder: Path) -> None:
        self.tables = QueueDatabase(database_url)
        self.replicas: list[Replica] = []
        self.ledger = ledger
        self._folder = folder
        self._started = 0
        self._encryption = Encryption(SecretStr(SECRET_KEY), "endpoints")

    async def start(self, count: int = 1) -> list[Replica]:
        """Start some more, and wait until they are ready."""
        begun = []
        for _ in range(count):
            begun.append(Replica(self.tables.url, self._folder / f"notifier-{self._started}.log"))
            self._started += 1
        self.replicas += begun
        await asyncio.gather(*(replica.becomes_ready() for replica in begun))
        return begun

    async def replace(self, replica: Replica) -> Replica:
        """Kill one and start another in its place."""
        replica.kill()
        self.replicas.remove(replica)
        [new] = await self.start()
        return new

    def end(self) -> None:
        """Kill all that run."""
        for replica in self.replicas:
            replica.kill()

    @property
    def log(self) -> str:
        """All that any of them has said."""
        return "\n".join(file.read_text() for file in sorted(self._folder.glob("notifier-*.log")))

    def subscribe(self, *places: str, topic: str = TOPIC) -> list[int]:
        """An endpoint for each place of the ledger's, subscribed to the topic; their ids."""
        rows = self.tables.rows(
            """with given as (select * from unnest(%s::bytea[]) with ordinality as given (address, place)),
            made as (
                insert into endpoint (channel, address_encrypted, secret_encrypted)
                select 'webhook', address, %s from given order by place returning id
            ), subscribed as (
                insert into subscription (endpoint_id, topic) select id, %s from made
            )
            select id from made order by id""",
            (
                [self._encryption.encrypt(f"{self.ledger.url}/{place}") for place in places],
                self._encryption.encrypt(self.ledger.secret),
                topic,
            ),
        )
        return [row[0] for row in rows]

    def enqueue(self, count: int, topic: str = TOPIC) -> None:
        """So many messages in one transaction."""
        self.tables.rows(
            "select enqueue_notifications(%s, array(select jsonb_build_object('number', n) from generate_series(1, %s) n))",
            (topic, count),
        )

    def expected(self) -> set[str]:
        """The idempotency key of every delivery that was promised: all messages that were committed, all subscribers."""
        rows = self.tables.rows("select message.id, endpoint_id from message join subscription using (topic)")
        return {f"msg_{message}_{endpoint}" for message, endpoint in rows}

    def replay(self) -> subprocess.Popen[bytes]:
        """`notifier dead replay --all`, begun."""
        return subprocess.Popen(
            [sys.executable, "-m", "notifier_service.cli", "dead", "replay", "--all"],
            env=settings(self.tables.url),
            stdout=subprocess.DEVNULL,
        )

    def unfinished(self) -> int:
        """Messages that are not fanned out and deliveries that have not ended."""
        [(count,)] = self.tables.rows("select (select count(*) from fan_out) + (select count(*) from delivery)")
        return int(count)

    async def finishes(self, seconds: float = 30) -> None:
        """Wait until nothing is under way. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while await asyncio.to_thread(self.unfinished):
                await asyncio.sleep(0.1)

    def check(self, *, dead: int = 0) -> None:
        """All that was promised came, each was recorded as delivered once, and twice came only what the promise allows.

        That is: what a worker had sent, or may have, when it was taken from it.
        """
        assert self.ledger.faults == []
        taken, expected = self.ledger.taken, self.expected()
        lost = expected - taken.keys()
        assert len(lost) == dead, f"{len(lost)} of {len(expected)} lost, {dead} expected: {sorted(lost)[:5]}"
        assert taken.keys() <= expected, "somebody was told what nobody enqueued"
        records = Counter[tuple[str, str]]()
        for message, endpoint, outcome, count in self.tables.rows(
            "select message_id, endpoint_id, outcome, count(*) from delivery_record group by 1, 2, 3"
        ):
            records[f"msg_{message}_{endpoint}", outcome] = count
        once = [key for key in taken if records[key, "delivered"] != 1]
        assert once == [], "recorded as delivered more than once, or never"
        unjustified = {key: times for key, times in taken.items() if times - 1 > records[key, "lost"]}
        assert unjustified == {}, "came twice although no worker vanished"
        assert "task.died" not in self.log

    @property
    def duplicates(self) -> int:
        """How many deliveries came more than once."""
        return sum(1 for times in self.ledger.taken.values() if times > 1)


def some(replicas: Sequence[Replica], chance: random.Random) -> Replica:
    """One of them, at random."""
    return replicas[int(chance.random() * len(replicas))]

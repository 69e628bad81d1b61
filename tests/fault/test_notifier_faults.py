"""Replicas of the notifier under load, and what may befall them: a receiver's ledger is compared with what was promised.

Nothing is lost, nobody finishes what was taken from him, and twice comes only what a worker had under way when it was
taken for dead, with the same key. `make chaos` runs these longer and again and again.
"""

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import psycopg2
import pytest

from notifier_service.rescue import LOST
from notifier_service.retry import MOST_FAILURES
from tests.fakes.ledger import Ledger, Manners, ledger
from tests.fakes.notifier_fleet import TOPIC, Fleet, some
from tests.fakes.waiting import until
from tests.queue_database import QueueDatabase
from tests.throwaway_postgres import ThrowawayPostgres

PLACES = ("a", "b", "c", "d")


@pytest.fixture
async def receiver() -> AsyncIterator[Ledger]:
    async with ledger() as kept:
        yield kept


@pytest.fixture
async def fleet(database_url: str, receiver: Ledger, tmp_path: Path) -> AsyncIterator[Fleet]:
    replicas = Fleet(database_url, receiver, tmp_path)
    yield replicas
    replicas.end()


@asynccontextmanager
async def load(fleet: Fleet, per_second: float = 200) -> AsyncIterator[None]:
    """Enqueue so many messages a second while the context is open, each in a transaction with others."""
    is_over = asyncio.Event()

    async def enqueue() -> None:
        while not is_over.is_set():
            # Whether it was committed may be unknown: what counts is what the tables hold in the end.
            with suppress(psycopg2.Error):
                await asyncio.to_thread(fleet.enqueue, 10)
            await asyncio.sleep(10 / per_second)

    task = asyncio.create_task(enqueue())
    try:
        yield
    finally:
        is_over.set()  # not cancelled: its thread would go on, and commit after what follows has looked
        await task


async def more(number: Callable[[], int], than: int, seconds: float = 15) -> None:
    """Wait until a number has grown. Raises TimeoutError."""
    await until(lambda: number() > than, seconds)


async def for_(seconds: float, every: float, do: Callable[[], Awaitable[None]]) -> int:
    """Do something again and again; how often it was done."""
    loop = asyncio.get_running_loop()
    end, times = loop.time() + seconds, 0
    while loop.time() < end:
        await asyncio.sleep(every)
        await do()
        times += 1
    return times


def backends(tables: QueueDatabase, function: str, chance: random.Random | None = None) -> int:
    """Call pg_terminate_backend or pg_cancel_backend for the replicas' connections, or one of them; how many."""
    pids = tables.rows("""select pid from pg_stat_activity
        where application_name = 'wegit-notifier-service' and datname = current_database()""")
    chosen = pids if chance is None or not pids else [chance.choice(pids)]
    for (pid,) in chosen:
        tables.rows(f"select {function}(%s)", (pid,))
    return len(chosen)


# Processes that die


async def test_replicas_killed_at_random_under_load(
    fleet: Fleet, receiver: Ledger, chaos_seconds: float, chance: random.Random
) -> None:
    fleet.subscribe(*PLACES)
    await fleet.start(3)

    async def kill_one() -> None:
        await fleet.replace(some(fleet.replicas, chance))

    async with load(fleet):
        assert await for_(chaos_seconds, 1.0, kill_one) >= 1
    await fleet.finishes(60)

    fleet.check()
    assert len(receiver.taken) > 100 * chaos_seconds


async def test_killed_after_the_receiver_took_it_and_before_that_was_written(fleet: Fleet, receiver: Ledger) -> None:
    fleet.subscribe("a")
    [first] = await fleet.start()
    with closing(psycopg2.connect(fleet.tables.url)) as connection, connection.cursor() as cursor:
        # A record cannot be written, and with it no ending.
        cursor.execute("lock table delivery_record in share mode")
        fleet.enqueue(20)
        await until(lambda: len(receiver.taken) == 20)
        await until(lambda: _is_blocked(fleet.tables))
        first.kill()
        # Postgres may not notice, and carry out what it was asked, as soon as it can.
        backends(fleet.tables, "pg_terminate_backend")
    await fleet.start()
    await fleet.finishes()

    fleet.check()
    assert set(receiver.taken.values()) == {2}


def _is_blocked(tables: QueueDatabase) -> bool:
    [(blocked,)] = tables.rows("""select count(*) from pg_stat_activity
        where application_name = 'wegit-notifier-service' and wait_event_type = 'Lock'""")
    return bool(blocked)


async def test_what_a_killed_replica_held_starts_elsewhere_within_fifteen_seconds(
    fleet: Fleet, receiver: Ledger
) -> None:
    fleet.subscribe("a")
    [first] = await fleet.start()
    receiver.hold()
    fleet.enqueue(20)
    await until(lambda: len(receiver.entries) == 20)
    await fleet.start()
    receiver.entries.clear()
    first.kill()
    receiver.let_go()

    await until(lambda: len(receiver.taken) == 20, 15)
    await fleet.finishes()
    fleet.check()
    assert fleet.duplicates == 0


async def test_replica_stopped_past_its_lease_cannot_finish_what_was_taken_from_it(
    fleet: Fleet, receiver: Ledger
) -> None:
    fleet.subscribe("a")
    [stopped] = await fleet.start()
    receiver.hold()
    fleet.enqueue(20)
    await until(lambda: len(receiver.entries) == 20)
    stopped.pause()
    receiver.let_go()
    await fleet.start()
    await fleet.finishes(40)
    stopped.go_on()

    await until(lambda: "deliveries.fenced" in stopped.log.read_text(), 20)
    fleet.enqueue(5)
    await fleet.finishes()
    fleet.check()
    assert Counter(receiver.taken.values()) == {2: 20, 1: 5}


async def test_rolling_restart_under_load_sends_nothing_twice(
    fleet: Fleet, receiver: Ledger, chaos_seconds: float
) -> None:
    fleet.subscribe(*PLACES)
    await fleet.start(3)

    async def restart_the_oldest() -> None:
        await fleet.start()
        assert await fleet.replicas.pop(0).stop() == 0

    async with load(fleet):
        assert await for_(chaos_seconds, 0.5, restart_the_oldest) >= 1
    await fleet.finishes()

    fleet.check()
    assert fleet.duplicates == 0
    assert len(receiver.taken) > 100 * chaos_seconds


async def test_poison_message_is_given_up_and_holds_up_nothing(fleet: Fleet, receiver: Ledger) -> None:
    fleet.subscribe("a")
    [poisoned] = fleet.subscribe("poison", topic="poison")
    receiver.manners["poison"] = Manners(hangs=True)
    await fleet.start()
    fleet.enqueue(1, topic="poison")
    for deaths in range(2):
        await more(lambda: len(receiver.at("poison")), deaths, 20)
        fleet.enqueue(3)
        if deaths:
            # The last of its tries: each waits longer than the one before, which would take an hour.
            fleet.tables.rows("update delivery set failures = %s where endpoint_id = %s", (MOST_FAILURES - 1, poisoned))
        # It takes its worker with it, as a delivery would that exhausts the memory.
        await fleet.replace(fleet.replicas[0])
    await fleet.finishes()

    assert fleet.tables.rows("select channel, reason from dead_letter") == [("webhook", LOST)]
    fleet.check(dead=1)
    assert len({entry.key for entry in receiver.at("a")}) == 6


# Postgres that fails


async def test_postgres_stopped_without_warning_and_started_again_and_again(
    own_postgres: ThrowawayPostgres, receiver: Ledger, tmp_path: Path, chaos_rounds: int
) -> None:
    # What was committed survives, as in production: the throwaway ones trade that for speed.
    QueueDatabase(own_postgres.url).rows("""
        do $$ begin execute format('alter database %I set synchronous_commit = on', current_database()); end $$
    """)
    fleet = Fleet(own_postgres.url, receiver, tmp_path)
    try:
        fleet.subscribe(*PLACES)
        await fleet.start(2)
        async with load(fleet):
            for _ in range(5 * chaos_rounds):
                before = len(receiver.entries)
                await more(lambda: len(receiver.entries), before + 20, 20)
                await asyncio.to_thread(own_postgres.stop_immediately)
                await asyncio.to_thread(own_postgres.start)
                back = len(receiver.entries)
                # Aim: delivering again within 5 s of its being back.
                await more(lambda: len(receiver.entries), back, 5)
        await fleet.finishes(60)
        fleet.check()
    finally:
        fleet.end()


@pytest.mark.parametrize("function", ["pg_terminate_backend", "pg_cancel_backend"])
async def test_connections_cut_and_statements_cancelled_under_load(
    fleet: Fleet, receiver: Ledger, chaos_seconds: float, chance: random.Random, function: str
) -> None:
    fleet.subscribe(*PLACES)
    await fleet.start(2)

    async def strike() -> None:
        await asyncio.to_thread(backends, fleet.tables, function, chance)

    async with load(fleet):
        assert await for_(chaos_seconds, 0.05, strike) > 10
    await fleet.finishes(60)

    fleet.check()
    assert len(receiver.taken) > 50 * chaos_seconds


async def test_table_that_is_locked_for_longer_than_a_statement_may_take(fleet: Fleet, receiver: Ledger) -> None:
    fleet.subscribe(*PLACES)
    await fleet.start(2)
    async with load(fleet):
        await until(lambda: len(receiver.taken) > 50)
        with closing(psycopg2.connect(fleet.tables.url)) as connection, connection.cursor() as cursor:
            cursor.execute("lock table delivery in exclusive mode")
            await until(lambda: "database.lost" in fleet.log or "completion.delayed" in fleet.log, 20)
    await fleet.finishes(60)

    fleet.check()


async def test_what_nobody_was_notified_of_is_found_by_polling(fleet: Fleet, receiver: Ledger) -> None:
    fleet.subscribe("a")
    await fleet.start()
    for number in range(3):
        fleet.tables.rows(
            """with stored as (insert into message (topic, body) values (%s, '{}') returning id)
            insert into fan_out (message_id) select id from stored""",
            (TOPIC,),
        )
        await more(lambda: len(receiver.taken), number, 3)
    await fleet.finishes()
    fleet.check()


# Receivers that fail


async def test_receiver_that_hangs_holds_up_nobody_else(fleet: Fleet, receiver: Ledger) -> None:
    fleet.subscribe("hanging", topic="hanging")
    receiver.manners["hanging"] = Manners(hangs=True)
    await fleet.start()
    fleet.enqueue(1000, topic="hanging")
    await until(lambda: len(receiver.at("hanging")) > 0)
    fleet.subscribe("well")
    latencies = await _latencies(fleet, receiver, "well", 20)

    assert max(latencies) < 2
    assert receiver.faults == []


async def test_storm_of_429_from_one_endpoint_leaves_the_others_their_latency(
    fleet: Fleet, receiver: Ledger, chaos_rounds: int
) -> None:
    fleet.subscribe("limited", topic="limited")
    receiver.manners["limited"] = Manners(429, {"Retry-After": "3600"})
    fleet.enqueue(20_000 * chaos_rounds, topic="limited")
    await fleet.start(2)
    await until(lambda: len(receiver.at("limited")) > 0, 20)
    fleet.subscribe("well")
    latencies = await _latencies(fleet, receiver, "well", 30)

    assert sorted(latencies)[len(latencies) // 2] < 0.5
    assert max(latencies) < 2
    assert len(receiver.at("limited")) < 2 * 500, "left alone after those that were under way"
    assert receiver.faults == []


async def _latencies(fleet: Fleet, receiver: Ledger, place: str, messages: int) -> list[float]:
    """From enqueueing to the receiver, one message after another."""
    loop = asyncio.get_running_loop()
    found = []
    for _ in range(messages):
        before = len(receiver.at(place))
        began = loop.time()
        await asyncio.to_thread(fleet.enqueue, 1)
        await more(lambda: len(receiver.at(place)), before)
        found.append(loop.time() - began)
    return found


# What is exactly once inside the database


async def test_fan_out_to_many_that_dies_in_the_middle(
    fleet: Fleet, receiver: Ledger, chance: random.Random, chaos_rounds: int
) -> None:
    subscribers = 5000 * chaos_rounds
    fleet.tables.rows("insert into channel (name, paused) values ('webhook', true)")
    fleet.tables.rows(
        """with made as (insert into endpoint (channel) select 'webhook' from generate_series(1, %s) returning id)
        insert into subscription (endpoint_id, topic) select id, %s from made""",
        (subscribers, TOPIC),
    )
    messages = 4
    fleet.enqueue(messages)
    await fleet.start(2)
    made = 0
    while fleet.tables.rows("select 1 from fan_out"):
        with suppress(TimeoutError):  # that was the last of them
            await more(lambda: _deliveries(fleet), made, 5)
        made = _deliveries(fleet)
        await fleet.replace(some(fleet.replicas, chance))

    [(rows, distinct)] = fleet.tables.rows("select count(*), count(distinct (message_id, endpoint_id)) from delivery")
    assert (rows, distinct) == (messages * subscribers, messages * subscribers)
    assert receiver.entries == []


def _deliveries(fleet: Fleet) -> int:
    [(number,)] = fleet.tables.rows("select count(*) from delivery")
    return int(number)


async def test_schedulers_that_all_tick_at_once_fire_once(fleet: Fleet, receiver: Ledger, chaos_rounds: int) -> None:
    fleet.subscribe("a")
    fleet.tables.rows(
        "insert into schedule (name, cron, topic, next_at) values ('test', '0 0 1 1 *', %s, 'infinity')", (TOPIC,)
    )
    await fleet.start(3)
    ticks = 5 * chaos_rounds
    for tick in range(1, ticks + 1):
        fleet.tables.rows("update schedule set next_at = now() - make_interval(secs => %s)", (tick,))
        await until(lambda: fleet.tables.rows("select next_at > now() from schedule") == [(True,)], 10)
    await until(lambda: len(receiver.taken) >= ticks)
    await fleet.finishes()

    fleet.check()
    assert len(receiver.taken) == ticks


async def test_replay_of_many_dead_letters_while_those_who_replay_and_deliver_die(
    fleet: Fleet, receiver: Ledger, chance: random.Random, chaos_rounds: int
) -> None:
    many = 1500 * chaos_rounds
    fleet.subscribe("a")
    receiver.manners["a"] = Manners(400)
    await fleet.start(2)
    fleet.enqueue(many)
    await fleet.finishes(60)
    keys = {entry.key for entry in receiver.entries}
    assert fleet.tables.rows("select count(*) from dead_letter") == [(many,)]

    receiver.manners.clear()
    first, second = fleet.replay(), fleet.replay()
    await until(lambda: _replayed(fleet) > 0, 20)
    first.kill()
    await fleet.replace(some(fleet.replicas, chance))
    for replaying in (first, second, fleet.replay()):
        await asyncio.to_thread(replaying.wait, 60)
    await fleet.finishes(60)

    assert _replayed(fleet) == many
    assert set(receiver.taken) == keys
    fleet.check()


def _replayed(fleet: Fleet) -> int:
    [(number,)] = fleet.tables.rows("select count(*) from dead_letter where replayed_as is not null")
    return int(number)


async def test_rolled_back_message_is_never_seen_and_a_key_makes_one_of_many(fleet: Fleet, receiver: Ledger) -> None:
    fleet.subscribe("a")
    await fleet.start()
    with closing(psycopg2.connect(fleet.tables.url)) as connection, connection.cursor() as cursor:
        cursor.execute("select enqueue_notification(%s, '{}')", (TOPIC,))
        connection.rollback()

    def enqueue_the_same() -> None:
        fleet.tables.rows("select enqueue_notification(%s, '{}', 'the same')", (TOPIC,))

    await asyncio.gather(*(asyncio.to_thread(enqueue_the_same) for _ in range(50)))
    await until(lambda: len(receiver.entries) > 0)
    await fleet.finishes()

    fleet.check()
    assert len(receiver.entries) == 1
    assert fleet.tables.rows("select occurrences from message") == [(50,)]
    assert re.fullmatch(r"msg_\d+_\d+", receiver.entries[0].key)

"""Whatever workers and operators do in whatever order: each delivery is where a plain model says, and ends once."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from typing import Any, ClassVar

import hypothesis.strategies as st
import psycopg2
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from pydantic import SecretStr

from notifier_service.models import Answer, Claimed, Delivered, Rejected, Skipped, Unreachable
from notifier_service.rescue import Rescue
from notifier_service.retry import MOST_FAILURES
from notifier_service.steering import Dead, Pausable, Steering
from service_kit.database import Database
from service_kit.errors import Conflict, NotFound
from tests.fakes.queue_worker import QueueWorker, queue_worker
from tests.queue_database import QueueDatabase

CHANNEL = "told"
EXAMPLES = 60
"""Of up to 30 steps; times --chaos-rounds."""
ENDINGS: list[Answer | Unreachable] = [
    Delivered(200),
    Delivered(200, "their id"),
    Skipped("nobody"),
    Rejected("no", 400),
    Unreachable("away"),
    Unreachable("away"),
    Unreachable("busy", http_status=429, retry_after_seconds=60),
]
FINAL = {Delivered: "delivered", Skipped: "skipped", Rejected: "dead"}
workers, positions = st.integers(0, 1), st.integers(0, 50)


@dataclass
class Message:
    """What was enqueued; `is_waiting`: its fan-out is yet to come."""

    subject: str | None
    is_waiting: bool = True
    is_expired: bool = False


@dataclass
class Delivery:
    """`holder`: the claim that alone may end it. `ended`: as its last record says."""

    message: int
    endpoint: int
    attempt: int = 0
    failures: int = 0
    begun: int | None = None
    holder: tuple[int, int] | None = None
    ended: str | None = None
    replayed_as: int | None = None
    is_forgotten: bool = False


@dataclass
class Claim:
    """What a worker, by its place and its number then, got from a claim, and believes to hold."""

    place: int
    worker: int
    claimed: Claimed


@dataclass
class Model:
    """What there should be in the tables."""

    messages: dict[int, Message] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    told: set[tuple[int, str]] = field(default_factory=set)
    deliveries: dict[int, Delivery] = field(default_factory=dict)
    records: Counter[str] = field(default_factory=Counter)
    disabled: set[int] = field(default_factory=set)

    def end(self, one: Delivery, outcome: str) -> None:
        one.holder, one.ended = None, outcome
        self.records[outcome] += 1

    def fail(self, one: Delivery, outcome: str) -> None:
        """A try that counts: the twelfth is the last."""
        if one.failures + 1 >= MOST_FAILURES:
            return self.end(one, "dead")
        one.holder = None
        one.failures += 1
        self.records[outcome] += 1
        return None

    def lose(self, one: Delivery) -> None:
        """Its worker's end counts if it was begun, which is known from the second loss on."""
        if one.begun == one.attempt:
            return self.fail(one, "lost")
        one.holder, one.begun = None, one.begun or 0
        self.records["lost"] += 1
        return None


class States(RuleBasedStateMachine):
    """Two workers and an operator on one channel with two endpoints, the second of them with a rate."""

    seen: ClassVar[Counter[str]] = Counter()
    database_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.model = Model()
        self.claims: list[Claim] = []
        self.workers: list[QueueWorker] = []
        self.stacks = [AsyncExitStack(), AsyncExitStack()]
        connection = self.stack.enter_context(closing(psycopg2.connect(self.database_url)))
        connection.autocommit = True
        self.cursor = connection.cursor()

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        self.cursor.execute(sql, parameters)
        return self.cursor.fetchall() if self.cursor.description else []

    @initialize()
    def begin(self) -> None:
        self.rows("""
            truncate message, fan_out, told, delivery, delivery_record, dead_letter, worker, channel, subscription,
                endpoint cascade
        """)
        self.rows("""
            with made as (
                insert into endpoint (channel, rate_per_second, burst) values ('told', null, 1), ('told', 50, 2)
                returning id
            )
            insert into subscription (endpoint_id, topic) select id, 'news' from made
        """)
        self.model = Model()
        self.endpoints = [row[0] for row in self.rows("select id from endpoint order by id")]
        self.runner.run(self._begin())
        for _ in range(6):
            self.enqueue(None, None, expires=True)
        self.fan_out()
        for place in (0, 1):
            self.claim(place, 3)

    async def _begin(self) -> None:
        database = Database(SecretStr(self.database_url), "test")
        await database.open()
        self.stack.push_async_callback(database.close)
        self.steering = Steering(database)
        for stack in self.stacks:
            self.workers.append(await stack.enter_async_context(queue_worker(self.database_url, CHANNEL)))

    def teardown(self) -> None:
        try:
            if self.workers:
                self._let_all_end()
        finally:
            self.runner.run(self._stop())
            self.runner.close()

    async def _stop(self) -> None:
        for stack in (*self.stacks, self.stack):
            await stack.aclose()

    def _let_all_end(self) -> None:
        """Nothing is lost: whatever happened before, what waits is delivered once nothing stands in its way."""
        self.rows("delete from channel")
        self.rows("update endpoint set paused = false, state = 'active', blocked_until = now(), failures = 0")
        self.model.disabled.clear()
        for _ in range(400):
            if not self.rows("select 1 from delivery union all select 1 from fan_out limit 1"):
                break
            self.time_passes(0)
            self.fan_out()
            self.claim(0, 100)
            for claim in list(self.claims):
                self._finish(claim, Delivered(200))
        self.the_tables_are_as_the_model_says()
        assert all(one.ended for one in self.model.deliveries.values())
        self.seen.update(self.model.records)

    # What producers do

    @rule(key=st.sampled_from([None, None, "a", "b"]), subject=st.sampled_from([None, "s"]), expires=st.booleans())
    def enqueue(self, key: str | None, subject: str | None, expires: bool) -> None:
        [(id_,)] = self.rows(
            "select enqueue_notification('news', '{}', %s, 1, %s, case when %s then now() + '1 hour'::interval end)",
            (key, subject, expires),
        )
        known = self.model.keys.setdefault(key, id_) if key else id_
        assert id_ == known, "one key, one message"
        self.model.messages.setdefault(id_, Message(subject))

    @rule()
    def fan_out(self) -> None:
        async def both() -> None:
            await asyncio.gather(*(one.fan_out.fan_out() for one in self.workers))

        self.runner.run(both())
        wanted: list[tuple[int, int]] = []
        for id_, message in sorted(self.model.messages.items()):
            for endpoint in self.endpoints if message.is_waiting and not message.is_expired else ():
                told = (endpoint, message.subject or "")
                if endpoint not in self.model.disabled and not (message.subject and told in self.model.told):
                    wanted.append((id_, endpoint))
                    if message.subject:
                        self.model.told.add(told)
            message.is_waiting = False
        made = self.rows(
            "select id, message_id, endpoint_id from delivery where not id = any(%s)", (list(self.model.deliveries),)
        )
        assert sorted(row[1:] for row in made) == wanted
        for id_, message_id, endpoint in made:
            self.model.deliveries[id_] = Delivery(message_id, endpoint)

    # What workers do

    @rule(place=workers, limit=st.integers(1, 6))
    def claim(self, place: int, limit: int) -> None:
        barred = self._barred()
        worker = self.workers[place]
        batch = self.runner.run(worker.queue.claim(worker.id, limit))
        assert batch.moved <= limit
        for claimed in batch.ready:
            assert claimed.endpoint.id not in barred
            self._take(worker, claimed)
            if claimed.is_suspect and claimed.id % 4:
                assert self.runner.run(worker.queue.begin(claimed))
                self.model.deliveries[claimed.id].begun = claimed.attempt
            worker.completion.held[claimed.id] = claimed.claimed_at
            self.claims.append(Claim(place, worker.id, claimed))
        for claimed, step in batch.ended:
            self._take(worker, claimed)
            worker.completion.add(claimed, step, 0)
            one = self.model.deliveries[claimed.id]
            expected = "expired" if self.model.messages[one.message].is_expired else "dead"
            assert step.outcome == expected
            assert expected == "expired" or one.endpoint in self.model.disabled
            self.model.end(one, step.outcome)
        self.runner.run(worker.completion.flush())
        self._note_attempts()

    def _barred(self) -> set[int]:
        """The endpoints that nothing may be sent to now and for the next moment."""
        if self.rows("select 1 from channel where paused"):
            return set(self.endpoints)
        rows = self.rows("select id from endpoint where paused or blocked_until > now() + '1 s' or state <> 'active'")
        return {row[0] for row in rows}

    def _take(self, worker: QueueWorker, claimed: Claimed) -> None:
        one = self.model.deliveries[claimed.id]
        assert one.ended is None
        assert one.holder is None, "delivered by two at once"
        assert claimed.attempt > one.attempt
        assert claimed.failures == one.failures
        assert claimed.is_suspect == (one.begun is not None)
        assert claimed.idempotency_key == f"msg_{one.message}_{one.endpoint}"
        one.holder, one.attempt = (worker.id, claimed.attempt), claimed.attempt

    def _note_attempts(self) -> None:
        """What a claim held or put off counts as an attempt, too."""
        for id_, attempt in self.rows("select id, attempt from delivery"):
            assert attempt >= self.model.deliveries[id_].attempt
            self.model.deliveries[id_].attempt = attempt

    @rule(place=workers)
    def claim_and_never_learn_of_it(self, place: int) -> None:
        """A claim whose answer is lost; the next renewal gives back what the worker does not believe to have."""
        worker = self.workers[place]
        for claim in [one for one in self.claims if one.place == place and not self._is_ours(one)]:
            self._finish(claim, Delivered(200))
        self.runner.run(worker.queue.claim(worker.id, 3))
        self._note_attempts()
        self.rows("update delivery set lease_until = now() where worker = %s and state = 'running'", (worker.id,))
        worker.heartbeat.renew_at_once()
        self.runner.run(worker.heartbeat.beat())

    @rule(position=positions, first=st.integers(0, len(ENDINGS) - 1), count=st.integers(1, 4))
    def finish(self, position: int, first: int, count: int) -> None:
        for number in range(first, first + min(count, len(self.claims))):
            self._finish(self.claims[position % len(self.claims)], ENDINGS[number % len(ENDINGS)])

    def _finish(self, claim: Claim, ending: Answer | Unreachable) -> None:
        self.claims.remove(claim)
        one, worker = self.model.deliveries[claim.claimed.id], self.workers[claim.place]
        is_ours = self._is_ours(claim)
        fenced = self.runner.run(worker.settle(claim.claimed, ending))
        assert fenced == (not is_ours)
        self.seen["fenced"] += fenced
        if not is_ours:
            return
        if not isinstance(ending, Unreachable):
            self.model.end(one, FINAL[type(ending)])
        elif ending.counts:
            self.model.fail(one, "failed")
        else:
            one.holder = None
            self.model.records["limited"] += 1

    @rule(position=positions)
    def hand_back(self, position: int) -> None:
        if self.claims:
            claim = self.claims.pop(position % len(self.claims))
            self.runner.run(self.workers[claim.place].queue.hand_back([claim.claimed]))
            self._let_go(claim)

    @rule(position=positions)
    def put_off(self, position: int) -> None:
        if self.claims:
            claim = self.claims.pop(position % len(self.claims))
            self.runner.run(self.workers[claim.place].queue.put_off([claim.claimed]))
            self._let_go(claim)

    def _let_go(self, claim: Claim) -> None:
        self.workers[claim.place].completion.forget(claim.claimed)
        if self._is_ours(claim):
            self.model.deliveries[claim.claimed.id].holder = None

    def _is_ours(self, claim: Claim) -> bool:
        """Whether it is still the delivery's newest, and nothing took it away."""
        return self.model.deliveries[claim.claimed.id].holder == (claim.worker, claim.claimed.attempt)

    @rule(place=workers)
    def fall_silent(self, place: int) -> None:
        """Taken for dead, and it goes on believing in what it has until it ends it: too late."""
        silent = self.workers[place]
        self._look_after(1 - place, silent.id)
        self._lose(silent.id)
        self.runner.run(silent.heartbeat.beat())

    @rule(place=workers)
    def leases_run_out(self, place: int) -> None:
        """A living worker has forgotten what it has, and remembers it too late."""
        worker = self.workers[place]
        self.rows(
            "update delivery set lease_until = now() - interval '1 s' where worker = %s and state = 'running'",
            (worker.id,),
        )
        self._look_after(1 - place)
        self._lose(worker.id)

    def _look_after(self, place: int, silent: int = 0) -> None:
        self.rows(
            "update worker set seen_at = now() - case id when %s then '10.1 s' else '0 s' end::interval", (silent,)
        )
        worker = self.workers[place]
        # A new one: it looks at leases at once.
        self.runner.run(Rescue(worker.connection, worker.metrics, lambda: None).look_after())

    def _lose(self, worker: int) -> None:
        for one in self.model.deliveries.values():
            if one.holder and one.holder[0] == worker:
                self.model.lose(one)

    @rule(place=workers)
    def leave(self, place: int) -> None:
        """As at SIGTERM; another process takes its place."""
        leaving = self.workers[place]

        async def leave() -> None:
            async with leaving.heartbeat.beating():
                pass
            await self.stacks[place].aclose()
            self.workers[place] = await self.stacks[place].enter_async_context(queue_worker(self.database_url, CHANNEL))

        id_ = leaving.id
        self.runner.run(leave())
        for one in self.model.deliveries.values():
            if one.holder and one.holder[0] == id_:
                one.holder = None

    # What time does

    @rule(place=workers)
    def time_passes(self, place: int) -> None:
        """Pauses and rests are over."""
        self.rows("update delivery set run_at = now() where state = 'ready'")
        self.rows(
            "update endpoint set blocked_until = now(), released_at = '-infinity' where blocked_until is not null"
        )
        self._look_after(place)

    @rule(position=positions)
    def a_message_expires(self, position: int) -> None:
        rows = self.rows("select id from message where expires_at > now() order by id")
        if rows:
            [id_] = rows[position % len(rows)]
            self.rows("update message set expires_at = now() where id = %s", (id_,))
            self.model.messages[id_].is_expired = True

    @rule()
    def many_tries_fail(self) -> None:
        """As if they had, and been lost, too: ten more take too long to make up."""
        self.rows("update delivery set failures = %s, begun = 0 where state <> 'running'", (MOST_FAILURES - 1,))
        for one in self.model.deliveries.values():
            if one.holder is None and one.ended is None:
                one.failures, one.begun = MOST_FAILURES - 1, 0

    # What operators do

    @rule(paused=st.booleans())
    def pause_channel(self, paused: bool) -> None:
        self.runner.run(self.steering.pause(Pausable.CHANNEL, CHANNEL, paused=paused))

    @rule(position=positions, paused=st.booleans())
    def pause_endpoint(self, position: int, paused: bool) -> None:
        self.runner.run(self.steering.pause(Pausable.ENDPOINT, str(self.endpoints[position % 2]), paused=paused))

    @rule(position=positions)
    def disable_or_enable(self, position: int) -> None:
        endpoint = self.endpoints[position % 2]
        self.model.disabled ^= {endpoint}
        state = "disabled" if endpoint in self.model.disabled else "active"
        self.rows("update endpoint set state = %s, version = version + 1 where id = %s", (state, endpoint))

    @rule(position=positions)
    def cancel(self, position: int) -> None:
        for id_, one in self._chosen(position):
            if one.ended is None and one.holder is None:
                self.runner.run(self.steering.cancel(id_))
                self.model.end(one, "cancelled")
            else:
                with pytest.raises(NotFound):
                    self.runner.run(self.steering.cancel(id_))

    @rule(position=positions)
    def retry(self, position: int) -> None:
        for id_, one in self._chosen(position):
            if one.ended is None and one.holder is None:
                assert self.runner.run(self.steering.retry(id_)) == id_
            elif self._may_be_replayed(one):
                self._replayed(id_, self.runner.run(self.steering.retry(id_)))
            else:
                with pytest.raises(Conflict):
                    self.runner.run(self.steering.retry(id_))

    @rule()
    def replay_all(self) -> None:
        async def replay() -> list[int]:
            return [id_ async for chunk in self.steering.replay(Dead(channel=CHANNEL)) for id_ in chunk]

        expected = [id_ for id_, one in self.model.deliveries.items() if self._may_be_replayed(one)]
        for old, new in zip(expected, sorted(self.runner.run(replay())), strict=True):
            self._replayed(old, new)

    def _may_be_replayed(self, one: Delivery) -> bool:
        is_dead = one.ended == "dead" and one.replayed_as is None and not one.is_forgotten
        return is_dead and one.endpoint not in self.model.disabled

    def _replayed(self, old: int, new: int) -> None:
        dead = self.model.deliveries[old]
        dead.replayed_as = new
        self.model.deliveries[new] = Delivery(dead.message, dead.endpoint, dead.attempt)
        self.seen["replayed"] += 1

    @rule()
    def purge(self) -> None:
        async def purge() -> None:
            async for _ in self.steering.purge(Dead(channel=CHANNEL)):
                pass

        self.runner.run(purge())
        for one in self.model.deliveries.values():
            if one.ended == "dead" and one.replayed_as is None:
                one.is_forgotten = True

    def _chosen(self, position: int) -> list[tuple[int, Delivery]]:
        known = sorted(self.model.deliveries.items())
        return [known[position % len(known)]] if known else []

    # What must hold after each step

    @invariant()
    def the_tables_are_as_the_model_says(self) -> None:
        if not self.workers:
            return
        model = self.model
        live = {id_: one for id_, one in model.deliveries.items() if one.ended is None}
        rows = {
            row[0]: row[1:]
            for row in self.rows(
                "select id, message_id, endpoint_id, failures, case when state = 'running' then worker end, attempt from delivery"
            )
        }
        assert rows == {
            id_: (one.message, one.endpoint, one.failures, one.holder[0] if one.holder else None, one.attempt)
            for id_, one in live.items()
        }
        final = self.rows("""
            select delivery_id, min(outcome), count(*) from delivery_record
            where outcome in ('delivered', 'skipped', 'dead', 'expired', 'cancelled') group by 1
        """)
        ended = {id_: one for id_, one in model.deliveries.items() if one.ended}
        assert {row[0]: row[1:] for row in final} == {id_: (one.ended, 1) for id_, one in ended.items()}
        assert dict(self.rows("select outcome, count(*) from delivery_record group by 1")) == dict(model.records)
        letters = {id_: one.replayed_as for id_, one in ended.items() if one.ended == "dead" and not one.is_forgotten}
        assert dict(self.rows("select delivery_id, replayed_as from dead_letter")) == letters
        waiting = {id_ for id_, message in model.messages.items() if message.is_waiting}
        assert {row[0] for row in self.rows("select message_id from fan_out")} == waiting


def test_every_delivery_is_where_it_should_be_and_ends_once(database_url: str, chaos_rounds: int) -> None:
    QueueDatabase(database_url).wait_past_start(15)
    States.database_url, States.seen = database_url, Counter()
    run_state_machine_as_test(
        States,
        settings=settings(
            max_examples=EXAMPLES * chaos_rounds,
            stateful_step_count=30,
            deadline=None,
            derandomize=chaos_rounds == 1,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
    wanted = ["delivered", "skipped", "failed", "limited", "lost", "dead", "expired", "cancelled", "fenced", "replayed"]
    assert all(States.seen[name] for name in wanted), States.seen

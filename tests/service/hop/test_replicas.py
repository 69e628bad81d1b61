"""Several replicas behind one name: who gets what, who is left alone, and what is tried again."""

import asyncio
import contextlib
import socket

import pytest

from gateway.hop import ejection, replica, resolver
from gateway.hop.hop import HopRequest
from service_kit.errors import UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from tests.fakes.named_replicas import NamedReplicas, named_replicas
from tests.fakes.raw_upstream import OK, Behave, hangs, sends
from tests.fakes.waiting import until

GET = HopRequest("GET", "/x", [], None)
POST = HopRequest("POST", "/x", [], b"{}")
BREAKS: Behave = sends(b"", then_closes=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is waited for comes ten times as soon."""
    monkeypatch.setattr(resolver, "INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(resolver, "LOOKUP_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(ejection, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(replica, "SILENT_SECONDS", 0.2)


async def ask(replicas: NamedReplicas, request: HopRequest = GET, *, timeout_seconds: float = 5) -> int:
    answer = await replicas.hop.send(request, timeout_seconds=timeout_seconds)
    assert await answer.read(100) == b"[]"
    return answer.status


async def ask_many(replicas: NamedReplicas, count: int, *, at_once: int = 1) -> int:
    """How many of so many requests were answered with 200."""

    async def ask_some() -> int:
        good = 0
        for _ in range(count // at_once):
            with contextlib.suppress(UpstreamFault):
                good += await ask(replicas) == 200
        return good

    return sum(await asyncio.gather(*(ask_some() for _ in range(at_once))))


async def test_requests_are_spread_evenly_from_the_first_one_on() -> None:
    async with named_replicas(3) as replicas:
        await ask_many(replicas, 90)
        assert replicas.asked == [30, 30, 30]


async def test_many_at_once_are_spread_as_well() -> None:
    async with named_replicas(3) as replicas:
        await ask_many(replicas, 300, at_once=10)
        assert all(90 <= asked <= 110 for asked in replicas.asked), replicas.asked


async def test_a_new_replica_gets_its_share_at_once_and_a_removed_one_nothing_more() -> None:
    async with named_replicas(3, known=2) as replicas:
        await ask_many(replicas, 40)
        assert replicas.asked == [20, 20, 0]
        replicas.names.says = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        await until(lambda: len(replicas.states) == 3)
        await ask_many(replicas, 60)
        assert replicas.asked == [40, 40, 20]
        replicas.names.says = ["127.0.0.1", "127.0.0.3"]
        await until(lambda: len(replicas.states) == 2)
        await ask_many(replicas, 60)
        assert replicas.asked == [70, 40, 50]
        assert replicas.upstreams["127.0.0.2"].open_connections == 0


async def test_what_a_removed_replica_has_under_way_is_finished() -> None:
    async def wait_and_answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        writer.write(OK)

    may_answer = asyncio.Event()
    async with named_replicas(2, known=1) as replicas:
        replicas.upstreams["127.0.0.1"].behave = wait_and_answer
        under_way = asyncio.create_task(ask(replicas))
        await until(lambda: replicas.asked == [1, 0])
        replicas.names.says = ["127.0.0.2"]
        await until(lambda: replicas.states == {"127.0.0.1": "leaving", "127.0.0.2": "active"})
        assert await ask_many(replicas, 3) == 3
        may_answer.set()
        assert await under_way == 200
        await until(lambda: replicas.states == {"127.0.0.2": "active"})
        assert replicas.asked == [1, 3]
        assert replicas.upstreams["127.0.0.1"].open_connections == 0


@pytest.mark.parametrize("says", [[], socket.gaierror("no such name"), None], ids=["empty", "failing", "silent"])
async def test_a_name_without_a_good_answer_stays_what_it_was(says: list[str] | OSError | None) -> None:
    async with named_replicas(2) as replicas:
        replicas.names.says = says
        asked = replicas.names.asked
        await until(lambda: replicas.names.asked > asked + (1 if says is None else 3) or replicas.names.waiting == 1)
        assert await ask_many(replicas, 20) == 20
        assert replicas.asked == [10, 10]
        replicas.names.says = ["127.0.0.2"]
        replicas.names.may_go_on.set()
        await until(lambda: set(replicas.states) == {"127.0.0.2"})


async def test_it_is_not_believed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "KEPT_SECONDS", 0.2)
    async with named_replicas(1) as replicas:
        replicas.names.says = []
        await until(lambda: replicas.states == {})
        with pytest.raises(UpstreamUnreachable, match="repo-service"):
            await ask(replicas)
        replicas.names.says = ["127.0.0.1"]
        await until(lambda: replicas.states == {"127.0.0.1": "active"})
        assert await ask(replicas) == 200


async def test_a_service_that_is_not_there_at_the_start_is_found_later() -> None:
    async with named_replicas(1, known=0) as replicas:
        with pytest.raises(UpstreamUnreachable):
            await ask(replicas)
        replicas.names.says = ["127.0.0.1"]
        await until(lambda: replicas.states == {"127.0.0.1": "active"})
        assert await ask(replicas) == 200


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(BREAKS, id="breaks off"),
        pytest.param(sends(b"SSH-2.0-OpenSSH_9.2\r\n"), id="speaks another protocol"),
        pytest.param(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n[]"), id="lies"),
    ],
)
async def test_a_replica_that_fails_costs_no_caller_an_answer_and_is_left_alone(fault: Behave) -> None:
    async with named_replicas(2) as replicas:
        replicas.upstreams["127.0.0.1"].behave = fault
        assert await ask_many(replicas, 100) == 100
        assert replicas.hop.retries == replicas.asked[0] <= 10
        assert replicas.states["127.0.0.2"] == "active"


async def test_a_replica_that_is_away_costs_no_caller_an_answer_and_is_left_alone() -> None:
    async with named_replicas(2, known=0) as replicas:
        replicas.names.says = ["127.0.0.1", "127.0.0.99"]
        await until(lambda: len(replicas.states) == 2)
        assert await ask_many(replicas, 100) == 100
        assert replicas.states == {"127.0.0.1": "active", "127.0.0.99": "ejected"}
        assert replicas.hop.retries == 5


async def test_it_comes_back_when_it_lives_again_by_way_of_one_request() -> None:
    async with named_replicas(2) as replicas:
        first = replicas.upstreams["127.0.0.1"]
        first.behave = BREAKS
        await ask_many(replicas, 20)
        assert replicas.states["127.0.0.1"] == "ejected"
        await until(lambda: any(head.startswith(b"GET /health/live ") for head in first.heads))
        await until(lambda: replicas.states["127.0.0.1"] == "ejected")
        first.behave = sends(OK)
        await until(lambda: replicas.states["127.0.0.1"] == "on_trial")
        await ask_many(replicas, 2)
        assert replicas.states["127.0.0.1"] == "active"
        before = replicas.asked
        await ask_many(replicas, 20)
        assert [now - then for now, then in zip(replicas.asked, before, strict=True)] == [10, 10]


async def test_it_comes_back_at_once_where_there_is_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a rolling restart: the second goes as soon as the first is there again."""
    monkeypatch.setattr(ejection, "FIRST_PAUSE_SECONDS", 30.0)
    async with named_replicas(2) as replicas:
        first, second = replicas.upstreams.values()
        first.behave = BREAKS
        assert await ask_many(replicas, 100) == 100
        assert replicas.states == {"127.0.0.1": "ejected", "127.0.0.2": "active"}
        first.behave, second.behave = sends(OK), BREAKS
        retries = replicas.hop.retries
        assert await ask_many(replicas, 1000, at_once=8) == 1000
        assert replicas.states == {"127.0.0.1": "active", "127.0.0.2": "ejected"}
        assert replicas.hop.retries - retries <= 30


async def test_a_trial_that_fails_is_one_request_that_is_tried_again_elsewhere() -> None:
    async def live_but_of_no_use(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK if first.heads[-1].startswith(b"GET /health/live ") else b"nonsense\r\n")

    async with named_replicas(2) as replicas:
        first = replicas.upstreams["127.0.0.1"]
        first.behave = live_but_of_no_use
        await ask_many(replicas, 20)
        for _ in range(3):
            await until(lambda: replicas.states["127.0.0.1"] == "on_trial")
            before = replicas.asked[0]
            assert await ask_many(replicas, 10) == 10
            assert replicas.asked[0] == before + 1
            assert replicas.states["127.0.0.1"] == "ejected"


SAD = sends(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n[]")


async def test_a_replica_that_answers_500_where_others_do_not_is_left_alone() -> None:
    async with named_replicas(2) as replicas:
        replicas.upstreams["127.0.0.1"].behave = SAD
        await ask_many(replicas, 60)
        assert replicas.states["127.0.0.1"] == "ejected"
        assert replicas.hop.retries == 0, "an answer is an answer"


async def test_where_all_answer_500_nobody_is_left_alone() -> None:
    async with named_replicas(2) as replicas:
        for upstream in replicas.upstreams.values():
            upstream.behave = SAD
        await ask_many(replicas, 100)
        assert set(replicas.states.values()) == {"active"}
        assert replicas.asked == [50, 50]


async def test_a_hanging_replica_is_found_out_and_its_callers_are_served_by_another() -> None:
    async with named_replicas(2) as replicas:
        replicas.upstreams["127.0.0.1"].behave = hangs
        await ask_many(replicas, 2, at_once=2)
        assert replicas.states["127.0.0.1"] == "ejected"
        assert await ask_many(replicas, 40, at_once=20) == 40
        assert replicas.hop.retries == 1


async def test_a_replica_that_is_only_slow_is_waited_for() -> None:
    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not first.heads[-1].startswith(b"GET /health/live "):
            await may_answer.wait()
        writer.write(OK)

    may_answer = asyncio.Event()
    async with named_replicas(2) as replicas:
        first = replicas.upstreams["127.0.0.1"]
        first.behave = slow
        asking = asyncio.create_task(ask_many(replicas, 2, at_once=2))
        await until(lambda: any(head.startswith(b"GET /health/live ") for head in first.heads))
        await asyncio.sleep(0)
        may_answer.set()
        assert await asking == 2
        assert set(replicas.states.values()) == {"active"}
        assert replicas.hop.retries == 0


async def test_a_slow_replica_gets_less() -> None:
    async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(OK)

    async with named_replicas(2) as replicas:
        replicas.upstreams["127.0.0.1"].behave = slow
        assert await ask_many(replicas, 160, at_once=4) == 160
        assert replicas.asked[0] < 40 < 120 < replicas.asked[1]


async def test_retries_stay_within_their_budget_when_nothing_answers() -> None:
    async with named_replicas(2) as replicas:
        for upstream in replicas.upstreams.values():
            upstream.behave = BREAKS
        assert await ask_many(replicas, 400, at_once=20) == 0
        assert sum(replicas.asked) <= 400 * 1.2 + 10
        assert replicas.hop.retries == sum(replicas.asked) - 400
        assert replicas.hop.retries_left < 1


async def test_what_was_sent_and_may_not_be_repeated_is_not() -> None:
    async with named_replicas(2) as replicas:
        for upstream in replicas.upstreams.values():
            upstream.behave = BREAKS
        with pytest.raises(UpstreamUnreachable):
            await ask(replicas, POST)
        assert sum(replicas.asked) == 1


async def test_what_was_never_sent_may_go_to_another() -> None:
    async with named_replicas(1, known=0) as replicas:
        replicas.names.says = ["127.0.0.1", "127.0.0.99"]
        await until(lambda: len(replicas.states) == 2)
        for _ in range(6):
            assert await ask(replicas, POST) == 200
        assert replicas.asked == [6]


async def test_who_used_up_the_time_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica, "SILENT_SECONDS", 60)
    async with named_replicas(2) as replicas:
        for upstream in replicas.upstreams.values():
            upstream.behave = hangs
        with pytest.raises(UpstreamTimeout):
            await ask(replicas, timeout_seconds=0.2)
        assert sum(replicas.asked) == 1


async def test_a_second_try_is_told_how_little_time_is_left() -> None:
    async def break_late(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.close()

    async with named_replicas(2) as replicas:
        replicas.upstreams["127.0.0.1"].behave = break_late
        await ask_many(replicas, 2, at_once=2)
        told = [
            int(head.partition(b"X-Request-Timeout-Ms: ")[2].split(b"\r\n")[0])
            for head in replicas.upstreams["127.0.0.2"].heads
        ]
        assert len(told) == 2
        assert max(told) - min(told) >= 90

"""The notifier as one application, with a fake Slack on a real port and a real Postgres."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pydantic import SecretStr

from notifier_service import alert_storm
from notifier_service import dispatcher as dispatcher_module
from notifier_service.app import make_app
from notifier_service.channels import slack as slack_module
from notifier_service.retry import MOST_FAILURES
from notifier_service.settings import NotifierSettings
from notifier_service.wording import word
from notifier_service.wording.parts import Wording
from service_kit.server import make_runner
from tests.fakes.slack import BROKEN, HANGS, INVALID_PAYLOAD, Answer, FakeSlack, fake_slack, limited
from tests.queue_database import QueueDatabase, eventually

Client = TestClient[web.Request, web.Application]
Start = Callable[[NotifierSettings], Awaitable[Client]]

SECRET_KEY = SecretStr("a secret key that is long enough to be one")
ALERT = {
    "service": "repo-service",
    "error": "KeyError",
    "where": "app.py:10 in get_repo",
    "message": "'stars'",
    "traceback": "Traceback (most recent call last): …",
    "minute": "2026-11-23T10:07Z",
}


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with fake_slack() as slack:
        yield slack


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    return QueueDatabase(database_url)


@pytest.fixture
def start(aiohttp_client: Any) -> Start:
    async def start(settings: NotifierSettings) -> Client:
        client: Client = await aiohttp_client(make_app(settings))
        return client

    return start


@pytest.fixture
async def notifier(start: Start, database_url: str, slack: FakeSlack) -> Client:
    return await start(settings_for(database_url, slack))


def settings_for(database_url: str, slack: FakeSlack | None) -> NotifierSettings:
    url = SecretStr(slack.url) if slack else None
    return NotifierSettings(database_url=SecretStr(database_url), secret_key=SECRET_KEY, slack_webhook_url=url)


async def test_posted_alert_reaches_slack_at_once_and_is_recorded(
    notifier: Client, slack: FakeSlack, tables: QueueDatabase
) -> None:
    answer = await notifier.post("/internal/alerts", json={**ALERT, "occurrences": 3})

    assert answer.status == 202
    assert await eventually(tables.outcomes) < 0.9, "it waited for the poll"
    assert slack.taken == [
        "*repo-service: KeyError at app.py:10 in get_repo*\n2026-11-23T10:07Z, 3 times so far\n"
        "'stars'\n```Traceback (most recent call last): …```"
    ]
    assert tables.rows("select channel, attempt, outcome, http_status, error from delivery_record") == [
        ("slack", 1, "delivered", 200, None)
    ]
    assert tables.rows("select * from delivery") == []


async def test_same_error_of_two_replicas_in_one_minute_is_one_message(
    notifier: Client, slack: FakeSlack, tables: QueueDatabase
) -> None:
    for _ in range(3):
        await notifier.post("/internal/alerts", json=ALERT)
    await eventually(tables.outcomes)

    assert tables.rows("select occurrences from message") == [(3,)]
    assert len(slack.received) == 1


async def test_the_next_minute_is_told_of_again(notifier: Client, slack: FakeSlack) -> None:
    await notifier.post("/internal/alerts", json=ALERT)
    await notifier.post("/internal/alerts", json={**ALERT, "minute": "2026-11-23T10:08Z"})

    await eventually(lambda: len(slack.taken) == 2)


async def test_storm_of_alerts_is_one_message(notifier: Client, slack: FakeSlack, tables: QueueDatabase) -> None:
    tables.rows(
        "select enqueue_notification('alert', %s || jsonb_build_object('where', n::text)) from generate_series(1, 300) n",
        (psycopg2.extras.Json(ALERT),),
    )
    await eventually(lambda: len(tables.outcomes()) == 300)

    assert len(slack.taken) == 1
    assert "and 299 more alerts:" in slack.taken[0]


async def test_error_text_cannot_mention_everybody(notifier: Client, slack: FakeSlack) -> None:
    await notifier.post("/internal/alerts", json={**ALERT, "message": "<!channel> & <http://evil.example|hi>"})
    await eventually(lambda: slack.taken)

    assert "&lt;!channel&gt; &amp; &lt;http://evil.example|hi&gt;" in slack.taken[0]


async def test_tokens_are_redacted_before_the_row_is_stored(
    notifier: Client, slack: FakeSlack, tables: QueueDatabase
) -> None:
    token = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"
    leak = f"GET /user?access_token={token} Authorization: Bearer {token}"
    await notifier.post("/internal/alerts", json={**ALERT, "message": leak, "traceback": leak, "where": leak})
    await eventually(lambda: slack.taken)

    assert token not in str(tables.rows("select * from message"))
    assert token not in slack.taken[0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"service": "a"}',
        b'{"service": 1, "error": "E", "where": "w", "message": "m", "traceback": "t", "minute": "2026-11-23T10:07Z"}',
        b'{"service": "", "error": "E", "where": "w", "message": "m", "traceback": "t", "minute": "2026-11-23T10:07Z"}',
        b'{"service": "a", "error": "E", "where": "w", "message": "m", "traceback": "t", "minute": "now"}',
        b'{"service": "a", "error": "E", "where": "w", "message": "m", "traceback": "t", "minute": "2026-11-23T10:07Z",'
        b' "occurrences": 0}',
        b'{"service": "a", "error": "E", "where": "w", "message": "m", "traceback": "t", "minute": "2026-11-23T10:07Z",'
        b' "more": 1}',
        b'{"service": "\xff", "error": "E"}',
    ],
)
async def test_what_is_no_alert_is_refused_and_not_stored(notifier: Client, tables: QueueDatabase, body: bytes) -> None:
    answer = await notifier.post("/internal/alerts", data=body)

    assert answer.status == 400
    assert answer.content_type == "application/problem+json"
    assert (await answer.json())["code"] == "bad_request"
    assert tables.rows("select * from message") == []


async def test_nul_and_a_long_traceback_are_stored(notifier: Client, slack: FakeSlack) -> None:
    await notifier.post("/internal/alerts", json={**ALERT, "message": "a\0b", "traceback": "x" * 20_000 + "the end"})
    await eventually(lambda: slack.taken)

    assert "a\N{REPLACEMENT CHARACTER}b" in slack.taken[0]
    assert len(slack.taken[0]) < 3000
    assert slack.taken[0].endswith("the end```")


async def test_server_error_is_tried_again_later(notifier: Client, slack: FakeSlack, tables: QueueDatabase) -> None:
    slack.will_answer(BROKEN)
    tables.enqueue()
    await eventually(tables.outcomes)

    assert tables.rows("select state, attempt, last_error from delivery") == [
        ("ready", 1, "slack answered 500: no reason given")
    ]
    tables.hurry()
    await eventually(lambda: tables.outcomes() == ["failed", "delivered"])
    assert len(slack.taken) == 1


async def test_what_fails_too_often_is_given_up(notifier: Client, slack: FakeSlack, tables: QueueDatabase) -> None:
    slack.otherwise = BROKEN
    tables.enqueue()
    await eventually(tables.outcomes)
    tables.rows("update delivery set failures = %s, run_at = now()", (MOST_FAILURES - 1,))
    await eventually(lambda: tables.outcomes() == ["failed", "dead"])

    assert tables.rows("select * from delivery") == []
    assert len(slack.received) == 2


async def test_limit_is_obeyed_for_the_whole_channel(notifier: Client, slack: FakeSlack, tables: QueueDatabase) -> None:
    slack.will_answer(limited(2))
    tables.enqueue(1)
    await eventually(tables.outcomes)
    tables.enqueue(2)
    await eventually(lambda: len(slack.taken) == 2)

    refused, *taken = slack.received
    assert refused.status == 429
    assert [one.at - refused.at >= 2.0 for one in taken] == [True, True]
    await eventually(lambda: sorted(tables.outcomes()) == ["delivered", "delivered", "limited"])


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (INVALID_PAYLOAD, "slack answered 400: invalid_payload"),
        (Answer(404, "no_service"), "slack answered 404: no_service"),
        (Answer(302, "", {"Location": "http://127.0.0.1:1/"}), "slack answered 302: redirects are not followed"),
    ],
)
async def test_refusal_is_final(
    notifier: Client, slack: FakeSlack, tables: QueueDatabase, refusal: Answer, error: str
) -> None:
    slack.will_answer(refusal)
    tables.enqueue()
    await eventually(tables.outcomes)

    assert tables.rows("select outcome, http_status, error from delivery_record") == [("dead", refusal.status, error)]
    assert tables.rows("select * from delivery") == []


async def test_receiver_that_hangs_is_left_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, notifier: Client, slack: FakeSlack, tables: QueueDatabase
) -> None:
    monkeypatch.setattr(slack_module.Slack, "timeout_seconds", 0.2)
    slack.will_answer(HANGS)
    tables.enqueue()
    await eventually(tables.outcomes, 2)

    assert tables.rows("select outcome, http_status, error from delivery_record") == [
        ("failed", None, "The upstream did not answer in time.")
    ]


async def test_refused_connection_is_tried_again(
    start: Start, database_url: str, tables: QueueDatabase, unused_tcp_port: int
) -> None:
    nowhere = SecretStr(f"http://127.0.0.1:{unused_tcp_port}/services/x")
    await start(
        NotifierSettings(database_url=SecretStr(database_url), secret_key=SECRET_KEY, slack_webhook_url=nowhere)
    )
    tables.enqueue()
    await eventually(tables.outcomes)

    assert tables.rows("select state, last_error from delivery") == [("ready", "The upstream cannot be reached.")]


async def test_without_a_webhook_alerts_are_skipped(start: Start, database_url: str, tables: QueueDatabase) -> None:
    await start(settings_for(database_url, None))
    tables.enqueue()
    await eventually(tables.outcomes)

    assert tables.rows("select outcome, error from delivery_record") == [("skipped", "SLACK_WEBHOOK_URL is not set")]
    assert tables.rows("select * from delivery") == []


async def test_body_that_is_no_alert_is_dead_and_holds_up_nobody(
    notifier: Client, slack: FakeSlack, tables: QueueDatabase
) -> None:
    tables.rows("""select enqueue_notification('alert', '{"poison": 1}')""")
    tables.enqueue(2)
    await eventually(lambda: sorted(tables.outcomes()) == ["dead", "delivered"])

    assert len(slack.received) == 1


async def test_crashing_channel_is_a_failed_try_and_an_alert(
    monkeypatch: pytest.MonkeyPatch, notifier: Client, slack: FakeSlack, tables: QueueDatabase
) -> None:
    def crash_on_the_first(topic: str, body: dict[str, Any], language: Any, occurrences: int) -> Wording:
        if body["message"] == "alert 1":
            raise RuntimeError("nobody expected this")
        return word(topic, body, language, occurrences)

    monkeypatch.setattr(alert_storm, "word", crash_on_the_first)
    tables.enqueue(1)
    await eventually(lambda: sorted(tables.outcomes()) == ["delivered", "failed"])

    assert "*notifier-service: RuntimeError at test_notifier.py" in slack.taken[0]
    assert tables.rows("select attempt, last_error from delivery") == [(1, "unexpected RuntimeError")]


async def test_lost_wake_up_is_made_up_for_by_the_poll(
    notifier: Client, slack: FakeSlack, tables: QueueDatabase
) -> None:
    await eventually(lambda: tables.rows("select 1 from pg_stat_activity where query = 'listen delivery'"))
    # As if the notification were dropped: the row comes without the function that notifies.
    tables.rows("""
        with m as (insert into message (topic, body) values ('alert', '{"poison": 1}') returning id)
        insert into fan_out (message_id) select id from m
    """)

    await eventually(tables.outcomes, 2.0)


async def test_listening_is_taken_up_again_when_its_connection_is_lost(
    notifier: Client, slack: FakeSlack, tables: QueueDatabase
) -> None:
    listening = "select pid from pg_stat_activity where query = 'listen delivery' and datname = current_database()"
    await eventually(lambda: tables.rows(listening))
    (first,) = tables.rows(listening)
    tables.rows("select pg_terminate_backend(%s)", first)
    await eventually(lambda: tables.rows(listening) not in ([], [first]))
    await asyncio.sleep(0.1)  # past the look-around after the reconnection, so that only the hint can be quick
    tables.enqueue()

    assert await eventually(tables.outcomes) < 0.8


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
async def test_statement_that_is_ended_by_the_server_ends_no_task(
    notifier: Client, slack: FakeSlack, tables: QueueDatabase, end: str
) -> None:
    blocked = """
        select {} from pg_stat_activity where datname = current_database()
        and application_name = 'wegit-notifier-service' and wait_event_type = 'Lock'
    """
    blocker = psycopg2.connect(tables.url)
    blocker.cursor().execute("lock table delivery in access exclusive mode")
    for _ in range(3):
        await eventually(lambda: tables.rows(blocked.format("pid")))
        tables.rows(blocked.format(f"{end}(pid)"))
    blocker.cursor().execute("select enqueue_notification('alert', %s)", (json.dumps(ALERT),))
    blocker.commit()
    blocker.close()

    await eventually(lambda: tables.outcomes() == ["delivered"])
    await eventually_ready(notifier)


async def test_end_waits_for_what_is_under_way(
    monkeypatch: pytest.MonkeyPatch, database_url: str, slack: FakeSlack, tables: QueueDatabase
) -> None:
    monkeypatch.setattr(slack_module.Slack, "timeout_seconds", 0.5)
    slack.will_answer(HANGS)
    runner = make_runner(make_app(settings_for(database_url, slack)))
    await runner.setup()
    tables.enqueue()
    await eventually(lambda: slack.received)
    await runner.cleanup()

    assert tables.outcomes() == ["failed"]
    assert tables.rows("select state, attempt from delivery") == [("ready", 1)]


async def test_end_hands_back_what_does_not_finish(
    monkeypatch: pytest.MonkeyPatch, database_url: str, slack: FakeSlack, tables: QueueDatabase
) -> None:
    monkeypatch.setattr(dispatcher_module, "GRACE_SECONDS", 0.2)
    slack.will_answer(HANGS)
    runner = make_runner(make_app(settings_for(database_url, slack)))
    await runner.setup()
    tables.enqueue()
    await eventually(lambda: slack.received)
    started = time.monotonic()
    await runner.cleanup()

    assert time.monotonic() - started < 2
    assert tables.rows("select state, attempt, failures, lease_until from delivery") == [("ready", 1, 0, None)]
    assert tables.rows("select * from worker") == []


async def test_two_notifiers_share_the_work_without_a_duplicate(
    start: Start, database_url: str, slack: FakeSlack, tables: QueueDatabase
) -> None:
    tables.free_slots()
    await start(settings_for(database_url, slack))
    await start(settings_for(database_url, slack))
    # Else one of them may be quick enough to deliver all that is enqueued before the other has looked.
    slack.will_answer_when_told()
    for number in range(100):
        tables.enqueue_release(number)
    await eventually(lambda: tables.rows("select count(distinct worker) from delivery") == [(2,)])
    slack.tell()
    await eventually(lambda: len(slack.taken) >= 100, 10)
    await eventually(lambda: len(tables.outcomes()) == 100)

    assert len(set(slack.taken)) == len(slack.taken) == 100
    assert tables.rows("select count(distinct worker) from delivery_record") == [(2,)]


async def test_ready_with_postgres_and_not_without(start: Start, notifier: Client, unused_tcp_port: int) -> None:
    await eventually_ready(notifier)
    away = await start(settings_for(f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/nothing", None))

    answer = await away.get("/health/ready")
    assert answer.status == 503
    assert "database" in (await answer.json())["degraded"]
    assert (await away.get("/health/live")).status == 200
    assert (await away.post("/internal/alerts", json=ALERT)).status == 503


async def eventually_ready(client: Client) -> None:
    async with asyncio.timeout(5):
        while (await client.get("/health/ready")).status != 200:
            await asyncio.sleep(0.02)

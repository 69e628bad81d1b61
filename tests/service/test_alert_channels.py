"""Alerts to operators: by mail through apprise, in storms as one message, to the places that the settings name."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from notifier_service.alert_storm import FEWEST
from notifier_service.channels import REGISTRY, alerts
from notifier_service.channels.alerts import Alerts, open_alerts
from notifier_service.channels.channel import Means
from notifier_service.channels.slack import Slack, open_slack
from notifier_service.models import Answer, Claimed, Delivered, Endpoint, Rejected, Skipped, Unreachable
from notifier_service.settings import NotifierSettings
from notifier_service.settings_endpoints import SettingsEndpoints
from service_kit.database import Database
from service_kit.metrics import Metrics
from tests.fakes.mail import FakeMail, fake_mail
from tests.fakes.slack import BROKEN, FakeSlack, fake_slack
from tests.fakes.slack import Answer as SlackAnswer
from tests.queue_database import QueueDatabase

KEY = SecretStr("a secret key that is long enough to be one")
ALERT = {
    "service": "repo-service",
    "error": "KeyError",
    "where": "app.py:10 in get_repo",
    "message": "'stars' <b>",
    "traceback": "Traceback …",
    "minute": "2026-11-23T10:07Z",
}


@pytest.fixture
async def mail() -> AsyncIterator[FakeMail]:
    async with fake_mail() as mail:
        yield mail


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with fake_slack() as slack:
        yield slack


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(SecretStr(database_url), "test")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    return QueueDatabase(database_url)


def settings(database_url: str, **more: Any) -> NotifierSettings:
    return NotifierSettings(**{"database_url": SecretStr(database_url), "secret_key": KEY, **more})


@pytest.fixture
def mailing(database_url: str, mail: FakeMail) -> NotifierSettings:
    return settings(database_url, alert_urls=mail.url())


@pytest.fixture
async def channel(mailing: NotifierSettings, database: Database) -> AsyncIterator[Alerts]:
    async with open_alerts(Means(mailing, database, Metrics())) as channel:
        yield channel


@pytest.fixture
async def slack_channel(database_url: str, slack: FakeSlack, database: Database) -> AsyncIterator[Slack]:
    named = settings(database_url, slack_webhook_url=SecretStr(slack.url))
    async with open_slack(Means(named, database, Metrics())) as channel:
        yield channel


def claimed(endpoint: Endpoint, delivery: int = 1) -> Claimed:
    return Claimed(delivery, 1, 42, "alert", ALERT, 3, datetime(2026, 11, 23, 10, 7, tzinfo=UTC), endpoint)


def mail_endpoint(named: NotifierSettings) -> Endpoint:
    [name] = REGISTRY["alerts"].from_settings(named)
    return Endpoint(7, "alerts", None, None, {}, "en", name)


async def send(channel: Alerts | Slack, claimed: Claimed) -> Answer | Unreachable:
    try:
        return await channel.send(claimed)
    except Unreachable as unreachable:
        return unreachable


async def test_alert_arrives_by_mail(channel: Alerts, mailing: NotifierSettings, mail: FakeMail) -> None:
    assert await channel.send(claimed(mail_endpoint(mailing))) == Delivered()

    [message] = mail.taken
    assert message["To"] == "oncall@example.org"
    assert message["Subject"] == "repo-service: KeyError at app.py:10 in get_repo"
    body = message.get_body(("plain",)) or message
    assert body.get_content().split() == [
        "2026-11-23T10:07Z,",
        "3",
        "times",
        "so",
        "far",
        "'stars'",
        "<b>",
        "Traceback",
        "…",
    ]


async def test_refusal_is_said_and_tried_again(
    channel: Alerts, mailing: NotifierSettings, mail: FakeMail, capfd: pytest.CaptureFixture[str]
) -> None:
    mail.refuses = True

    ending = await send(channel, claimed(mail_endpoint(mailing)))
    assert isinstance(ending, Unreachable)
    assert ending.reason == 'Sending email to "oncall@example.org" failed.'
    logged = "".join(capfd.readouterr())
    assert "MailSecret" not in logged + ending.reason


async def test_place_that_hangs_is_left_and_does_not_take_all_threads_for_ever(
    monkeypatch: pytest.MonkeyPatch, channel: Alerts, mailing: NotifierSettings, mail: FakeMail
) -> None:
    monkeypatch.setattr(Alerts, "timeout_seconds", 0.3)
    mail.hangs.set()
    endpoint = mail_endpoint(mailing)
    endings = [await send(channel, claimed(endpoint)) for _ in range(alerts.THREADS + 1)]

    assert [getattr(ending, "reason", "") for ending in endings] == [
        *["no answer within 0.3 s"] * alerts.THREADS,
        "earlier alerts are still being sent",
    ]


async def test_place_that_the_settings_do_not_name_any_more_is_skipped(channel: Alerts) -> None:
    endpoint = Endpoint(7, "alerts", None, None, {}, "en", "settings:alerts:000000000000")

    assert await channel.send(claimed(endpoint)) == Skipped("its URL is not in ALERT_URLS")


async def test_subscribers_slack_may_not_be_inside_and_the_operator_s_may(
    slack_channel: Slack, slack: FakeSlack
) -> None:
    subscribers = Endpoint(8, "slack", SecretStr(slack.url), None, {}, "en")
    operators = Endpoint(7, "slack", None, None, {}, "en", "settings:slack")

    assert await slack_channel.send(claimed(subscribers)) == Rejected("the address is not on the public internet")
    assert slack.received == []
    assert await slack_channel.send(claimed(operators)) == Delivered(200)


@pytest.mark.parametrize(("reason", "is_gone"), [("no_service", True), ("channel_is_archived", True), ("x", False)])
async def test_slack_that_is_gone_is_told_nothing_more(
    slack_channel: Slack, slack: FakeSlack, tables: QueueDatabase, reason: str, is_gone: bool
) -> None:
    slack.will_answer(SlackAnswer(404, reason))

    answer = await slack_channel.send(claimed(slack_endpoint(tables)))
    assert answer == Rejected(f"slack answered 404: {reason}", 404, disable_endpoint=is_gone)


def waiting_alerts(tables: QueueDatabase, count: int) -> list[int]:
    """So many alerts that wait for one Slack endpoint; the first is claimed. Their deliveries."""
    [(endpoint,)] = tables.rows("select id from endpoint where name = 'settings:slack'")
    for number in range(count):
        message = tables.enqueue(number)
        tables.rows(
            "insert into delivery (message_id, endpoint_id, channel) values (%s, %s, 'slack')", (message, endpoint)
        )
    tables.rows("delete from fan_out")
    deliveries = [row[0] for row in tables.rows("select id from delivery order by id")]
    tables.rows(
        "update delivery set state = 'running', worker = 1, attempt = 1, lease_until = now() + interval '1 min'"
        " where id = %s",
        (deliveries[0],),
    )
    return deliveries


def slack_endpoint(tables: QueueDatabase) -> Endpoint:
    [(endpoint,)] = tables.rows("select id from endpoint where name = 'settings:slack'")
    return Endpoint(endpoint, "slack", None, None, {}, "en", "settings:slack")


async def test_storm_of_alerts_is_one_message_with_a_count(
    slack_channel: Slack, slack: FakeSlack, tables: QueueDatabase
) -> None:
    first, *others = waiting_alerts(tables, 301)

    assert await slack_channel.send(claimed(slack_endpoint(tables), first)) == Delivered(200)
    [text] = slack.taken
    assert "\nand 300 more alerts:\n300 × a-service: KeyError\n" in text
    assert tables.rows("select id from delivery where state = 'ready'") == []
    assert tables.rows("select count(*), min(outcome), min(error) from delivery_record") == [
        (len(others), "delivered", f"told of by delivery {first}, one of 301")
    ]


async def test_storm_that_does_not_arrive_is_told_of_again(
    slack_channel: Slack, slack: FakeSlack, tables: QueueDatabase
) -> None:
    first, *others = waiting_alerts(tables, 30)
    slack.will_answer(BROKEN)

    assert isinstance(await send(slack_channel, claimed(slack_endpoint(tables), first)), Unreachable)
    assert [row[0] for row in tables.rows("select id from delivery where state = 'ready' order by id")] == others
    assert tables.outcomes() == []


async def test_storm_that_two_tell_of_at_once_is_told_of_by_one(
    slack_channel: Slack, slack: FakeSlack, tables: QueueDatabase
) -> None:
    first, second, *others = waiting_alerts(tables, 302)
    tables.rows(
        "update delivery set state = 'running', worker = 1, attempt = 1, lease_until = now() + interval '1 min'"
        " where id = %s",
        (second,),
    )
    tables.rows("update delivery set has_slot = true, run_at = now() + interval '5 minutes' where state = 'ready'")
    tables.rows("update endpoint set slot_at = now() + interval '5 minutes'")

    endpoint = slack_endpoint(tables)
    await asyncio.gather(*(slack_channel.send(claimed(endpoint, one)) for one in (first, second)))
    assert sum("\nand 300 more alerts:" in text for text in slack.taken) == 1
    assert len(slack.taken) == 2
    assert tables.rows("select count(*) from delivery_record") == [(len(others),)]
    assert tables.rows("select slot_at < now() + interval '2 s' from endpoint") == [(True,)]


async def test_a_few_alerts_are_no_storm(slack_channel: Slack, slack: FakeSlack, tables: QueueDatabase) -> None:
    first, *others = waiting_alerts(tables, FEWEST)

    await slack_channel.send(claimed(slack_endpoint(tables), first))
    assert "more alerts" not in slack.taken[0]
    assert len(tables.rows("select 1 from delivery where state = 'ready'")) == len(others)


async def test_settings_make_an_endpoint_and_its_subscription_once(
    mailing: NotifierSettings, database: Database, tables: QueueDatabase
) -> None:
    for _ in range(2):
        await asyncio.gather(*(SettingsEndpoints(database, REGISTRY, mailing).make() for _ in range(3)))

    assert tables.rows(
        "select channel, address_encrypted, state, topic from endpoint join subscription on endpoint_id = endpoint.id"
        " order by channel"
    ) == [("alerts", None, "active", "alert"), ("slack", None, "active", "alert")]
    assert "MailSecret" not in str(tables.rows("select * from endpoint"))


async def test_what_the_settings_name_no_longer_is_disabled_and_comes_back(
    mailing: NotifierSettings, database_url: str, database: Database, tables: QueueDatabase
) -> None:
    states = "select state, disabled_reason from endpoint where channel = 'alerts'"
    await SettingsEndpoints(database, REGISTRY, mailing).make()
    await SettingsEndpoints(database, REGISTRY, settings(database_url)).make()
    assert tables.rows(states) == [("disabled", "the settings no longer name it")]

    await SettingsEndpoints(database, REGISTRY, mailing).make()
    assert tables.rows(states) == [("active", None)]
    assert tables.rows("select count(*) from subscription") == [(2,)]


def test_nobody_may_add_endpoints_of_the_settings_channel() -> None:
    with pytest.raises(ValueError, match="from the settings alone"):
        REGISTRY["alerts"].check_address("mailto://somebody@example.org", {})

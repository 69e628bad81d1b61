"""The channel `wechat` against an imitation of WeChat: one acceptance is one message, whatever goes wrong."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from notifier_service.channels import wechat as channel_module
from notifier_service.channels.channel import Means
from notifier_service.channels.wechat import Wechat, open_wechat
from notifier_service.models import Answer, Claimed, Delivered, Endpoint, Rejected, Skipped, Unreachable
from notifier_service.settings import NotifierSettings
from notifier_service.wechat.ledger import Ledger, Reservation
from notifier_service.wechat.push_messages import ConsentChange
from service_kit.database import Database
from service_kit.metrics import Metrics
from tests.fakes.wechat import APP_ID, APP_SECRET, ERRMSGS, FIELDS, OPENID, TEMPLATE, FakeWechat, fake_wechat
from tests.queue_database import QueueDatabase

KEY = SecretStr("a secret key that is long enough to be one")
BODY = {
    "page": {"section": "repositories", "since": "daily", "language_slug": "rust", "spoken_language_code": None},
    "repository": {"owner": "a-long-owner", "name": "with a name/", "stars": 1234},
}


@pytest.fixture
async def wechat() -> AsyncIterator[FakeWechat]:
    async with fake_wechat() as wechat:
        yield wechat


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(SecretStr(database_url), "test")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    return QueueDatabase(database_url)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database, KEY)


def settings(database_url: str, wechat: FakeWechat, **more: Any) -> NotifierSettings:
    given = {
        "database_url": SecretStr(database_url),
        "secret_key": KEY,
        "wechat_api_url": wechat.url,
        "wechat_app_id": APP_ID,
        "wechat_app_secret": SecretStr(APP_SECRET),
        **more,
    }
    return NotifierSettings(**given)


@pytest.fixture
async def channel(database_url: str, database: Database, wechat: FakeWechat) -> AsyncIterator[Wechat]:
    async with open_wechat(Means(settings(database_url, wechat), database, Metrics())) as channel:
        assert isinstance(channel, Wechat)
        yield channel


def claimed(delivery: int = 1, attempt: int = 1, *, openid: str = OPENID, template: str = TEMPLATE) -> Claimed:
    config = {"template_id": template, "fields": FIELDS, "page": "pages/repository?owner={owner}&name={name}"}
    endpoint = Endpoint(7, "wechat", SecretStr(openid), None, config, "zh")
    at = datetime(2026, 11, 23, 10, 7, tzinfo=UTC)
    return Claimed(delivery, attempt, 42, "trending.entered", BODY, 1, at, endpoint)


class Consent:
    """What a user has accepted, here and at WeChat, and how deliveries end."""

    def __init__(self, ledger: Ledger, wechat: FakeWechat, tables: QueueDatabase) -> None:
        self._ledger = ledger
        self._wechat = wechat
        self._tables = tables
        self._pushes = 0

    async def accept(self, times: int = 1) -> None:
        """As many taps, each of which WeChat tells us of."""
        for _ in range(times):
            self._wechat.accept()
            self._pushes += 1
            await self._ledger.take(f"push {self._pushes}".encode(), [ConsentChange(OPENID, TEMPLATE, "accepted")])

    def end(self, outcome: str, *, delivery: int = 1, msgid: str | None = None) -> None:
        """As the queue ends a try: its record, in a transaction."""
        self._tables.rows(
            "insert into delivery_record (delivery_id, message_id, channel, attempt, outcome, provider_id)"
            " values (%s, 42, 'wechat', 1, %s, %s)",
            (delivery, outcome, msgid),
        )

    async def left(self) -> int:
        """What the ledger says."""
        return await self._ledger.available(OPENID, TEMPLATE)


@pytest.fixture
def consent(ledger: Ledger, wechat: FakeWechat, tables: QueueDatabase) -> Consent:
    return Consent(ledger, wechat, tables)


async def send(channel: Wechat, claimed: Claimed) -> Answer | Unreachable:
    try:
        return await channel.send(claimed)
    except Unreachable as unreachable:
        return unreachable


async def test_accepted_message_is_sent_in_fields_that_fit(
    channel: Wechat, wechat: FakeWechat, consent: Consent
) -> None:
    await consent.accept()

    answer = await channel.send(claimed())
    assert answer == Delivered(200, "1988810812324364291")
    [sent] = wechat.sent
    assert sent.data == {"thing1": "a-long-owner/with a…", "number2": "1234"}
    assert sent.page == "pages/repository?owner=a-long-owner&name=with%20a%20name%2F"


async def test_one_acceptance_is_one_message(channel: Wechat, wechat: FakeWechat, consent: Consent) -> None:
    await consent.accept(2)
    answers = await asyncio.gather(*(channel.send(claimed(delivery)) for delivery in range(1, 6)))

    assert sorted(type(answer).__name__ for answer in answers) == ["Delivered"] * 2 + ["Skipped"] * 3
    assert (len(wechat.sent), wechat.calls) == (2, 2)
    assert await consent.left() == 0


async def test_without_an_acceptance_wechat_is_not_asked(channel: Wechat, wechat: FakeWechat) -> None:
    answer = await channel.send(claimed())

    assert answer == Skipped("the user has accepted no further message of this template")
    assert wechat.calls == 0


async def test_acceptance_is_reserved_before_the_call_and_spent_with_the_delivery_s_end(
    channel: Wechat, consent: Consent, tables: QueueDatabase
) -> None:
    await consent.accept()
    await channel.send(claimed())
    assert tables.rows("select verdict, is_settled from wechat_reservation") == [("sent", False)]

    consent.end("delivered", msgid="1988810812324364291")
    assert tables.rows("select msgid, is_settled from wechat_reservation") == [("1988810812324364291", True)]
    assert await consent.left() == 0


async def test_repeat_after_a_time_out_spends_nothing_more(
    monkeypatch: pytest.MonkeyPatch, channel: Wechat, wechat: FakeWechat, consent: Consent
) -> None:
    monkeypatch.setattr(channel_module, "SEND_SECONDS", 0.2)
    await consent.accept(3)
    wechat.will_hang_after_sending()

    assert isinstance(await send(channel, claimed(attempt=1)), Unreachable)
    consent.end("failed")
    assert await consent.left() == 2
    assert isinstance(await send(channel, claimed(attempt=2)), Delivered)
    consent.end("delivered")
    assert await consent.left() == 2


async def test_refusal_after_a_time_out_is_no_dead_letter(
    monkeypatch: pytest.MonkeyPatch, channel: Wechat, wechat: FakeWechat, consent: Consent
) -> None:
    monkeypatch.setattr(channel_module, "SEND_SECONDS", 0.2)
    await consent.accept()
    wechat.will_hang_after_sending()
    await send(channel, claimed(attempt=1))

    answer = await send(channel, claimed(attempt=2))
    assert isinstance(answer, Skipped)
    assert "may have arrived" in answer.reason


async def test_what_a_dead_worker_sent_is_not_sent_again(channel: Wechat, wechat: FakeWechat, consent: Consent) -> None:
    await consent.accept(2)
    await channel.send(claimed(attempt=1))
    consent.end("lost")

    assert await channel.send(claimed(attempt=2)) == Delivered(200, "1988810812324364291")
    assert len(wechat.sent) == 1
    assert await consent.left() == 1


async def test_late_worker_does_not_write_over_a_newer_attempt(
    channel: Wechat, ledger: Ledger, consent: Consent, tables: QueueDatabase
) -> None:
    await consent.accept()
    await channel.send(claimed(attempt=2))
    await ledger.note(1, 1, "not_sent")

    assert tables.rows("select attempt, verdict from wechat_reservation") == [(2, "sent")]


async def test_reservation_is_the_newest_attempts_and_no_older_one_takes_it_back(
    ledger: Ledger, consent: Consent, tables: QueueDatabase
) -> None:
    await consent.accept(2)
    assert await ledger.reserve(1, 1, OPENID, TEMPLATE) == Reservation("unknown", None)
    assert await ledger.reserve(1, 3, OPENID, TEMPLATE) == Reservation("unknown", None)
    assert await ledger.reserve(1, 2, OPENID, TEMPLATE) is None
    await ledger.note(1, 1, "sent", "of the first")
    assert tables.rows("select attempt, verdict, msgid from wechat_reservation") == [(3, "unknown", None)]
    await ledger.note(1, 3, "not_sent")

    assert tables.rows("select attempt, verdict from wechat_reservation") == [(3, "not_sent")]
    assert await consent.left() == 1


def told_with(tables: QueueDatabase, template: str) -> int:
    """An endpoint with this template; its id."""
    [(id_,)] = tables.rows(
        "insert into endpoint (channel, config) values ('wechat', jsonb_build_object('template_id', %s::text)) returning id",
        (template,),
    )
    return int(id_)


@pytest.mark.parametrize("errcode", [40003, 40037, 47003, 40013])
async def test_what_wechat_refused_is_given_back_when_it_is_given_up(
    channel: Wechat, wechat: FakeWechat, consent: Consent, tables: QueueDatabase, errcode: int
) -> None:
    told_with(tables, TEMPLATE)
    await consent.accept()
    wechat.will_answer(errcode)

    answer = await channel.send(claimed())
    assert answer == Rejected(f"wechat answered {errcode}: {ERRMSGS[errcode]}", 200, disable_endpoint=errcode == 40003)
    assert await consent.left() == 0
    consent.end("dead")
    assert await consent.left() == 1


@pytest.mark.parametrize("errcode", [40037, 41030, 47003])
async def test_template_that_wechat_refuses_is_paused_and_operators_are_told_once(
    channel: Wechat, wechat: FakeWechat, consent: Consent, tables: QueueDatabase, errcode: int
) -> None:
    same, another = [told_with(tables, template) for template in (TEMPLATE, TEMPLATE, "another")][1:]
    await consent.accept(3)
    wechat.will_answer(errcode, errcode, errcode)
    answers = await asyncio.gather(*(send(channel, claimed(delivery)) for delivery in (1, 2, 3)))

    assert sorted(type(answer).__name__ for answer in answers) == ["Rejected", "Unreachable", "Unreachable"]
    assert not any(answer.counts or answer.blames_endpoint for answer in answers if isinstance(answer, Unreachable))
    assert tables.rows("select id, paused from endpoint where id >= %s order by id", (same,)) == [
        (same, True), (another, False),
    ]  # fmt: skip
    [(alert,)] = tables.rows("select body from message where topic = 'alert'")
    assert (alert["error"], alert["where"]) == ("WechatTemplateRefused", TEMPLATE)
    assert str(errcode) in alert["message"]


@pytest.mark.parametrize("outcome", ["dead", "expired", "cancelled"])
async def test_what_may_have_arrived_is_not_given_back(
    monkeypatch: pytest.MonkeyPatch, channel: Wechat, wechat: FakeWechat, consent: Consent, outcome: str
) -> None:
    monkeypatch.setattr(channel_module, "SEND_SECONDS", 0.2)
    await consent.accept()
    wechat.will_hang_after_sending()
    await send(channel, claimed())
    consent.end(outcome)

    assert await consent.left() == 0


async def test_used_up_consent_is_zeroed(channel: Wechat, wechat: FakeWechat, consent: Consent) -> None:
    await consent.accept(5)
    wechat.will_answer(43101)

    answer = await channel.send(claimed())
    assert isinstance(answer, Skipped)
    assert "43101" in answer.reason
    consent.end("skipped")
    assert await consent.left() == 0


async def test_withdrawn_token_is_replaced_within_the_send(
    channel: Wechat, wechat: FakeWechat, consent: Consent
) -> None:
    await consent.accept(2)
    await channel.send(claimed(1))
    wechat.withdraw_token()

    assert isinstance(await channel.send(claimed(2)), Delivered)
    assert wechat.tokens_asked == [False, True]


@pytest.mark.parametrize(("errcode", "retry_after_seconds", "counts"), [(-1, None, True), (45009, 3600.0, False)])
async def test_passing_trouble_keeps_the_reservation_for_the_next_try(
    channel: Wechat,
    wechat: FakeWechat,
    consent: Consent,
    errcode: int,
    retry_after_seconds: float | None,
    counts: bool,
) -> None:
    await consent.accept()
    wechat.will_answer(errcode)

    ending = await send(channel, claimed(attempt=1))
    assert isinstance(ending, Unreachable)
    assert (ending.retry_after_seconds, ending.counts) == (retry_after_seconds, counts)
    consent.end("failed")
    assert isinstance(await send(channel, claimed(attempt=2)), Delivered)


async def test_without_a_token_nothing_is_reserved_and_nothing_lost(
    channel: Wechat, wechat: FakeWechat, consent: Consent, tables: QueueDatabase
) -> None:
    await consent.accept()
    wechat.token_errcode = 40125

    assert isinstance(await send(channel, claimed()), Unreachable)
    assert await consent.left() == 1
    assert tables.rows("select * from wechat_reservation") == []


async def test_nobody_reached_is_nothing_sent(
    database_url: str, database: Database, wechat: FakeWechat, consent: Consent, channel: Wechat, unused_tcp_port: int
) -> None:
    await consent.accept()
    await channel._keeper.token()
    channel._api_url = f"http://127.0.0.1:{unused_tcp_port}"
    assert isinstance(await send(channel, claimed()), Unreachable)
    consent.end("dead")

    assert await consent.left() == 1


async def test_without_an_app_messages_are_skipped(database_url: str, database: Database) -> None:
    unset = NotifierSettings(database_url=SecretStr(database_url), secret_key=KEY)
    async with open_wechat(Means(unset, database, Metrics())) as channel:
        assert await channel.send(claimed()) == Skipped("WECHAT_APP_ID and WECHAT_APP_SECRET are not set")


async def test_no_secret_is_in_the_log(
    capsys: pytest.CaptureFixture[str], channel: Wechat, wechat: FakeWechat, consent: Consent
) -> None:
    await consent.accept()
    wechat.will_answer(-1)
    await send(channel, claimed())
    await send(channel, claimed(attempt=2))

    logged = capsys.readouterr().out
    assert "upstream.answered" in logged
    for secret in (wechat.token, APP_SECRET, OPENID):
        assert secret not in logged


async def test_openid_is_not_in_the_ledger(consent: Consent, tables: QueueDatabase) -> None:
    await consent.accept()

    [(reader,)] = tables.rows("select reader from wechat_consent")
    assert OPENID.encode() not in bytes(reader)


async def test_old_bookings_are_forgotten(
    ledger: Ledger, channel: Wechat, consent: Consent, tables: QueueDatabase
) -> None:
    await consent.accept(2)
    for delivery in (1, 2):
        await channel.send(claimed(delivery))
    consent.end("delivered", delivery=1)
    tables.rows("update wechat_reservation set at = now() - interval '8 days'")
    tables.rows("update wechat_push set at = now() - interval '2 days'")
    await ledger.forget()

    assert tables.rows("select delivery_id from wechat_reservation") == [(2,)]
    assert tables.rows("select * from wechat_push") == []


@pytest.mark.skipif("RECORDINGS_DIR" not in os.environ, reason="RECORDINGS_DIR names no folder of recordings")
async def test_the_imitation_answers_as_wechat_does(wechat: FakeWechat) -> None:
    cases = json.loads((Path(os.environ["RECORDINGS_DIR"]) / "wechat" / "cases.json").read_text())
    assert {key: type(value) for key, value in cases["send_ok"].items()} == {
        "errcode": int,
        "errmsg": str,
        "msgid": int,
    }
    assert ERRMSGS[43101] == cases["send_refused"]["errmsg"]
    assert ERRMSGS[40001] == cases["token_stale"]["errmsg"]
    assert ERRMSGS[40013] == cases["code2session_bad_appid"]["errmsg"]

"""Messages on their way from the queue to receivers of each kind: webhook, WeChat and mail, by one notifier."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg2.extras
import pytest
from pydantic import SecretStr

from notifier_service.app import make_app
from notifier_service.settings import NotifierSettings
from notifier_service.subscriptions import ENCRYPTION_PURPOSE
from notifier_service.wechat.ledger import Ledger
from notifier_service.wechat.push_messages import ConsentChange
from service_kit.database import DATABASE
from service_kit.encryption import Encryption
from tests.fakes.mail import FakeMail, fake_mail
from tests.fakes.webhook import SECRET, Answer, FakeWebhook, fake_webhook
from tests.fakes.wechat import APP_ID, APP_SECRET, FIELDS, OPENID, TEMPLATE, FakeWechat, fake_wechat
from tests.queue_database import QueueDatabase, eventually

KEY = SecretStr("a secret key that is long enough to be one")
ENTERED = {
    "page": {"section": "repositories", "since": "daily", "language_slug": "rust", "spoken_language_code": None},
    "repository": {"owner": "rust-lang", "name": "rust", "language": "Rust", "stars": 98765},
    "taken_at": "2026-11-23T10:00:00Z",
}


@pytest.fixture
async def webhook() -> AsyncIterator[FakeWebhook]:
    async with fake_webhook() as webhook:
        yield webhook


@pytest.fixture
async def wechat() -> AsyncIterator[FakeWechat]:
    async with fake_wechat() as wechat:
        yield wechat


@pytest.fixture
async def mail() -> AsyncIterator[FakeMail]:
    async with fake_mail() as mail:
        yield mail


class Subscribers:
    """A running notifier, and those it tells."""

    def __init__(self, tables: QueueDatabase, ledger: Ledger) -> None:
        self.tables = tables
        self.ledger = ledger
        self._encryption = Encryption(KEY, ENCRYPTION_PURPOSE)

    def subscribe(self, channel: str, address: str, *, secret: str | None = None, **config: Any) -> None:
        """Every repository that begins to trend, to one more endpoint."""
        self.tables.rows(
            "with e as (insert into endpoint (channel, address_encrypted, secret_encrypted, config)"
            " values (%s, %s, %s, %s) returning id)"
            " insert into subscription (endpoint_id, topic, languages) select id, 'trending.entered', '{rust}' from e",
            (
                channel,
                self._encryption.encrypt(address),
                self._encryption.encrypt(secret) if secret else None,
                psycopg2.extras.Json(config),
            ),
        )

    def tell(self) -> None:
        """A repository begins to trend."""
        self.tables.rows("select enqueue_notification('trending.entered', %s)", (psycopg2.extras.Json(ENTERED),))


@pytest.fixture
async def subscribers(aiohttp_client: Any, database_url: str, wechat: FakeWechat, mail: FakeMail) -> Subscribers:
    given: dict[str, Any] = {
        "database_url": SecretStr(database_url),
        "secret_key": KEY,
        "alert_urls": mail.url(),
        "webhook_private_addresses": True,
        "wechat_api_url": wechat.url,
        "wechat_app_id": APP_ID,
        "wechat_app_secret": SecretStr(APP_SECRET),
    }
    client = await aiohttp_client(make_app(NotifierSettings(**given)))
    tables = QueueDatabase(database_url)
    await eventually(lambda: tables.rows("select 1 from endpoint where channel = 'alerts'"))
    return Subscribers(tables, Ledger(client.app[DATABASE], KEY))


async def test_webhook_gets_its_message_signed(subscribers: Subscribers, webhook: FakeWebhook) -> None:
    subscribers.subscribe("webhook", webhook.url, secret=SECRET)
    subscribers.tell()
    await eventually(lambda: webhook.taken)

    assert webhook.taken[0].is_signed
    assert webhook.taken[0].payload["data"] == ENTERED


async def test_webhook_that_is_gone_is_disabled(subscribers: Subscribers, webhook: FakeWebhook) -> None:
    webhook.will_answer(Answer(410))
    subscribers.subscribe("webhook", webhook.url, secret=SECRET)
    subscribers.tell()

    states = "select state, disabled_reason from endpoint where channel = 'webhook'"
    await eventually(lambda: subscribers.tables.rows(states) == [("disabled", "the webhook answered 410")])
    await eventually(lambda: subscribers.tables.outcomes() == ["dead"])


async def test_wechat_user_is_told_for_one_acceptance(subscribers: Subscribers, wechat: FakeWechat) -> None:
    for number in range(2):
        wechat.accept()
        await subscribers.ledger.take(b"push %d" % number, [ConsentChange(OPENID, TEMPLATE, "accepted")])
    subscribers.subscribe("wechat", OPENID, template_id=TEMPLATE, fields=FIELDS)
    subscribers.tell()
    await eventually(lambda: subscribers.tables.outcomes() == ["delivered"])

    assert [one.data for one in wechat.sent] == [{"thing1": "rust-lang/rust", "number2": "98765"}]
    assert await subscribers.ledger.available(OPENID, TEMPLATE) == 1
    assert subscribers.tables.rows(
        "select r.msgid, d.provider_id, is_settled from wechat_reservation r join delivery_record d using (delivery_id)"
    ) == [("1988810812324364291", "1988810812324364291", True)]


async def test_refused_wechat_message_is_a_dead_letter_and_its_acceptance_given_back(
    subscribers: Subscribers, wechat: FakeWechat
) -> None:
    wechat.accept()
    await subscribers.ledger.take(b"push", [ConsentChange(OPENID, TEMPLATE, "accepted")])
    wechat.will_answer(47003)
    subscribers.subscribe("wechat", OPENID, template_id=TEMPLATE, fields=FIELDS)
    subscribers.tell()
    ended = "select outcome from delivery_record where channel = 'wechat'"
    await eventually(lambda: subscribers.tables.rows(ended) == [("dead",)])

    assert await subscribers.ledger.available(OPENID, TEMPLATE) == 1


async def test_alert_reaches_the_mailbox_that_the_settings_name(subscribers: Subscribers, mail: FakeMail) -> None:
    subscribers.tables.enqueue()
    await eventually(lambda: mail.taken, 10)

    assert mail.taken[0]["Subject"] == "a-service: KeyError at app.py:1 in f"

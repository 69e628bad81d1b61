"""The channel `webhook` against a receiver that checks signatures."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from notifier_service.channels import posting
from notifier_service.channels.webhook import Webhook, check_url
from notifier_service.guarded_connector import open_guarded_session
from notifier_service.models import Answer, Claimed, Delivered, Endpoint, Rejected, Unreachable
from notifier_service.standard_webhooks import new_secret, rotated
from service_kit.metrics import Metrics
from tests.fakes.webhook import PATH, SECRET, FakeWebhook, fake_webhook
from tests.fakes.webhook import Answer as Answers


@pytest.fixture
async def receiver() -> AsyncIterator[FakeWebhook]:
    async with fake_webhook() as webhook:
        yield webhook


@pytest.fixture
async def channel() -> AsyncIterator[Webhook]:
    async with open_guarded_session(Metrics(), allow_private=True, called="webhook") as session:
        yield Webhook(session)


def endpoint(url: str, secret: str = SECRET) -> Endpoint:
    return Endpoint(7, "webhook", SecretStr(url), SecretStr(secret), {}, "en")


def claimed(url: str, *, secret: str = SECRET, attempt: int = 1) -> Claimed:
    at = datetime(2026, 11, 23, 10, 7, tzinfo=UTC)
    body = {"repository": {"owner": "rust-lang", "name": "rust"}}
    return Claimed(1, attempt, 42, "trending.entered", body, 1, at, endpoint(url, secret))


async def test_message_arrives_signed_with_its_idempotency_key(channel: Webhook, receiver: FakeWebhook) -> None:
    assert await channel.send(claimed(receiver.url)) == Delivered(200)

    [received] = receiver.taken
    assert received.is_signed
    assert received.id == "msg_42_7"
    assert (received.headers["Content-Type"], received.headers["User-Agent"]) == ("application/json", "WeGit")
    assert received.payload == {
        "type": "trending.entered",
        "timestamp": "2026-11-23T10:07:00Z",
        "data": {"repository": {"owner": "rust-lang", "name": "rust"}},
    }


async def test_another_try_has_the_same_key(channel: Webhook, receiver: FakeWebhook) -> None:
    await channel.send(claimed(receiver.url))
    await channel.send(claimed(receiver.url, attempt=2))

    assert [one.id for one in receiver.taken] == ["msg_42_7", "msg_42_7"]


async def test_while_secrets_are_rotated_both_receivers_are_content(channel: Webhook) -> None:
    both = rotated(SECRET)
    for secret in both.split():
        async with fake_webhook(FakeWebhook(secret)) as receiver:
            assert await channel.send(claimed(receiver.url, secret=both)) == Delivered(200)


async def test_another_secret_is_not_taken(channel: Webhook, receiver: FakeWebhook) -> None:
    assert await channel.send(claimed(receiver.url, secret=new_secret())) == Rejected("the webhook answered 401", 401)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (204, Delivered(204)),
        (302, Rejected("the webhook answered 302: redirects are not followed", 302)),
        (307, Rejected("the webhook answered 307: redirects are not followed", 307)),
        (400, Rejected("the webhook answered 400", 400)),
        (404, Rejected("the webhook answered 404", 404)),
        (410, Rejected("the webhook answered 410", 410, disable_endpoint=True)),
    ],
)
async def test_status_decides(channel: Webhook, receiver: FakeWebhook, status: int, answer: Answer) -> None:
    receiver.will_answer(Answers(status, headers={"Location": receiver.url}))

    assert await channel.send(claimed(receiver.url)) == answer
    assert len(receiver.received) == 1, "a redirect was followed"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_passing_status_is_for_later(channel: Webhook, receiver: FakeWebhook, status: int) -> None:
    receiver.will_answer(Answers(status, headers={"Retry-After": "17"}))

    with pytest.raises(Unreachable) as unreachable:
        await channel.send(claimed(receiver.url))
    assert (unreachable.value.http_status, unreachable.value.retry_after_seconds) == (status, 17.0)
    assert receiver.url not in str(unreachable.value)


async def test_answer_is_read_no_further_than_its_limit_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, channel: Webhook, receiver: FakeWebhook
) -> None:
    monkeypatch.setattr(posting, "ANSWER_SECONDS", 3600.0)
    receiver.will_answer(Answers(200, endless=True))

    async with asyncio.timeout(5):
        assert await channel.send(claimed(receiver.url)) == Delivered(200)


async def test_answer_that_does_not_end_in_time_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, channel: Webhook, receiver: FakeWebhook
) -> None:
    monkeypatch.setattr(posting, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(posting, "ANSWER_LIMIT_BYTES", 10**12)
    receiver.will_answer(Answers(200, endless=True))

    async with asyncio.timeout(5):
        assert await channel.send(claimed(receiver.url)) == Delivered(200)


async def test_answer_that_begins_in_time_counts_even_if_its_body_does_not_end_in_time(
    monkeypatch: pytest.MonkeyPatch, channel: Webhook, receiver: FakeWebhook
) -> None:
    monkeypatch.setattr(Webhook, "timeout_seconds", 0.5)
    monkeypatch.setattr(posting, "ANSWER_SECONDS", 3600.0)
    monkeypatch.setattr(posting, "ANSWER_LIMIT_BYTES", 10**12)
    receiver.will_answer(Answers(200, endless=True))

    async with asyncio.timeout(5):
        assert await channel.send(claimed(receiver.url)) == Delivered(200)


async def test_neither_address_nor_secret_is_in_the_log(
    capsys: pytest.CaptureFixture[str], channel: Webhook, receiver: FakeWebhook
) -> None:
    receiver.will_answer(Answers(500, body=receiver.url.encode()))
    with pytest.raises(Unreachable):
        await channel.send(claimed(receiver.url))

    logged = capsys.readouterr().out
    assert "upstream.answered" in logged
    assert not any(secret in logged for secret in (PATH, SECRET))


async def test_receiver_that_hangs_is_left_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, channel: Webhook, receiver: FakeWebhook
) -> None:
    monkeypatch.setattr(Webhook, "timeout_seconds", 0.2)
    receiver.will_answer(Answers(hangs=True))

    async with asyncio.timeout(5):
        with pytest.raises(Unreachable, match="did not answer in time"):
            await channel.send(claimed(receiver.url))


async def test_address_inside_is_refused_for_good_and_for_challenges_too(receiver: FakeWebhook) -> None:
    async with open_guarded_session(Metrics(), allow_private=False, called="webhook") as session:
        channel = Webhook(session)
        assert await channel.send(claimed(receiver.url)) == Rejected("the address is not on the public internet")
        assert await channel.challenge(endpoint(receiver.url)) == "the address is not on the public internet"
    assert receiver.received == []


async def test_address_that_no_connection_can_be_made_to_is_refused_for_good(channel: Webhook) -> None:
    assert await channel.send(claimed("http://2130706433/")) == Rejected("the address is no URL")


async def test_who_answers_the_challenge_is_confirmed(channel: Webhook, receiver: FakeWebhook) -> None:
    assert await channel.challenge(endpoint(receiver.url)) is None

    [received] = receiver.received
    assert (received.is_signed, received.payload["type"]) == (True, "subscription.challenge")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answers(200, body=b"ok"), 'did not answer {"challenge": …}'),
        (Answers(200, body=b'{"challenge": "another"}'), 'did not answer {"challenge": …}'),
        (Answers(200, body=b'{"challenge": 1}'), 'did not answer {"challenge": …}'),
        (Answers(200, body=b"\xff"), 'did not answer {"challenge": …}'),
        (Answers(404), "with 404 instead of 200"),
        (Answers(302, headers={"Location": "/"}), "with 302 instead of 200"),
        (Answers(503), "with 503 instead of 200"),
    ],
)
async def test_who_does_not_answer_the_challenge_is_not_confirmed(
    channel: Webhook, receiver: FakeWebhook, answer: Answers, said: str
) -> None:
    receiver.will_answer(answer)

    refusal = await channel.challenge(endpoint(receiver.url))
    assert refusal is not None
    assert said in refusal


async def test_each_challenge_is_another(channel: Webhook, receiver: FakeWebhook) -> None:
    await channel.challenge(endpoint(receiver.url))
    await channel.challenge(endpoint(receiver.url))

    first, second = (one.payload["data"]["challenge"] for one in receiver.received)
    assert first != second


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://example.org/a?b=c#d", "https://example.org/a?b=c"),
        ("http://example.org:8080", "http://example.org:8080"),
    ],
)
def test_url_is_kept_without_its_fragment(address: str, kept: str) -> None:
    assert check_url(address, {}).rstrip("/") == kept


@pytest.mark.parametrize(
    "address", ["", "example.org", "ftp://example.org", "https://?", "https://user:secret@example.org/", "http://[::1"]
)
def test_what_is_no_url_of_a_webhook_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="should") as refusal:
        check_url(address, {})
    assert address == "" or address not in str(refusal.value)

"""/v1/subscriptions and /v1/notifications of the notifier, with a real Postgres and webhooks on real ports."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from pydantic import SecretStr

from notifier_service import subscriptions as subscriptions_module
from notifier_service.app import make_app
from notifier_service.settings import NotifierSettings
from tests.fakes.webhook import SECRET, FakeWebhook, fake_webhook
from tests.queue_database import QueueDatabase, eventually

Client = TestClient[web.Request, web.Application]
OPERATOR_KEY = "an-operator-key-that-is-long-enough"
HEADERS = {"Authorization": f"Bearer {OPERATOR_KEY}"}
MENU = json.dumps([{"name": "Rust", "slug": "rust", "color": None}, {"name": "C#", "slug": "c%23", "color": "#178600"}])


class Api:
    """The notifier's API as an operator uses it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """The status, and the body's JSON."""
        async with self._client.request(method, path, json=body, headers={**HEADERS, **headers}) as response:
            return response.status, await response.json() if response.status != 204 else None

    async def head(self, path: str, **headers: str) -> ClientResponse:
        async with self._client.get(path, headers=headers) as response:
            await response.read()
            return response

    async def subscribe(self, address: str, **members: Any) -> dict[str, Any]:
        """The data of a new subscription."""
        endpoint = {"channel": "webhook", "address": address, "secret": SECRET, **members.pop("endpoint", {})}
        status, answer = await self.ask(
            "POST", "/v1/subscriptions", {"topic": "trending.entered", "endpoint": endpoint, **members}
        )
        assert status == 201, answer
        data: dict[str, Any] = answer["data"]
        return data


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    tables = QueueDatabase(database_url)
    tables.rows("delete from endpoint")
    tables.rows("insert into trending_menu values (true, %s, now())", (MENU,))
    return tables


@pytest.fixture
async def api(aiohttp_client: Callable[..., Awaitable[Client]], tables: QueueDatabase, database_url: str) -> Api:
    settings = NotifierSettings(
        database_url=SecretStr(database_url),
        secret_key=SecretStr("a secret key that is long enough to be one"),
        operator_key=SecretStr(OPERATOR_KEY),
        webhook_private_addresses=True,
    )
    client = await aiohttp_client(make_app(settings))
    # What the settings name is made at the start: out of the way of counts.
    await eventually(lambda: tables.rows("select 1 from endpoint"))
    tables.rows("delete from endpoint")
    return Api(client)


@pytest.fixture
async def webhook() -> AsyncIterator[FakeWebhook]:
    async with fake_webhook() as webhook:
        yield webhook


@pytest.mark.parametrize(
    "path", ["/v1/subscriptions", "/v1/subscriptions/1", "/v1/notifications", "/v1/notifications/1"]
)
async def test_without_the_key_nothing_is_shown(api: Api, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = await api.head(path, **headers)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_new_subscription_is_confirmed_shown_and_kept_encrypted(
    api: Api, webhook: FakeWebhook, tables: QueueDatabase
) -> None:
    created = await api.subscribe(webhook.url, languages=["Rust"], minimum_period_stars=10)

    assert created["endpoint"]["state"] == "active"
    assert created["confirmation"] == {"confirmed": True, "reason": None}
    [challenge] = webhook.received
    assert (challenge.payload["type"], challenge.is_signed) == ("subscription.challenge", True)
    status, answer = await api.ask("GET", f"/v1/subscriptions/{created['id']}")
    assert status == 200
    assert answer["data"] == {
        "id": created["id"],
        "topic": "trending.entered",
        "languages": ["rust"],
        "since": "daily",
        "minimum_period_stars": 10,
        "repository": None,
        "owner": None,
        "mode": "at_once",
        "digest_hour": None,
        "digest_weekday": None,
        "time_zone": "UTC",
        "quiet_from": None,
        "quiet_until": None,
        "paused": False,
        "next_digest_at": None,
        "created_at": created["created_at"],
        "endpoint": {
            "id": created["endpoint"]["id"],
            "name": None,
            "channel": "webhook",
            "address": "http://127.0.0.1/…",
            "language": "en",
            "state": "active",
            "reason": None,
            "paused": False,
        },
    }
    stored = str(
        [
            bytes(value)
            for row in tables.rows("select address_encrypted, secret_encrypted from endpoint")
            for value in row
        ]
    )
    assert "secretsecret" not in stored
    assert SECRET not in stored


async def test_made_secret_is_shown_once(api: Api, webhook: FakeWebhook) -> None:
    wanted = {"topic": "trending.entered", "endpoint": {"channel": "webhook", "address": webhook.url}}
    first = await api.ask("POST", "/v1/subscriptions", wanted)
    second = await api.ask("POST", "/v1/subscriptions", wanted)

    assert first[1]["data"]["secret"].startswith("whsec_")
    assert (first[0], second[0]) == (201, 200)
    assert second[1]["data"]["id"] == first[1]["data"]["id"]
    assert "secret" not in second[1]["data"]


async def test_webhook_that_does_not_answer_the_challenge_gets_nothing_until_it_does(
    api: Api, webhook: FakeWebhook, tables: QueueDatabase
) -> None:
    async with fake_webhook(FakeWebhook(answers_challenges=False)) as unwilling:
        created = await api.subscribe(unwilling.url)
        assert created["endpoint"]["state"] == "unconfirmed"
        assert created["confirmation"]["confirmed"] is False
        assert "challenge" in created["confirmation"]["reason"]
        unwilling._answers_challenges = True
        status, answer = await api.ask("POST", f"/v1/subscriptions/{created['id']}/confirm")
    assert (status, answer["data"]["endpoint"]["state"]) == (200, "active")
    assert answer["data"]["confirmation"] == {"confirmed": True, "reason": None}


async def test_confirming_an_endpoint_that_rests_lets_go_what_was_held_for_it(
    api: Api, webhook: FakeWebhook, tables: QueueDatabase
) -> None:
    created = await api.subscribe(webhook.url)
    endpoint = created["endpoint"]["id"]
    tables.rows("update endpoint set blocked_until = now() + interval '1 h', failures = 9 where id = %s", (endpoint,))
    tables.rows(
        "insert into delivery (message_id, endpoint_id, channel, state) values (1, %s, 'webhook', 'held')", (endpoint,)
    )
    await api.ask("POST", f"/v1/subscriptions/{created['id']}/confirm")

    # It is what tells the rescue of them.
    assert tables.rows("select failures, blocked_until <= now() from endpoint where id = %s", (endpoint,)) == [
        (0, True)
    ]


async def test_subscribing_twice_at_once_is_one_subscription(
    api: Api, webhook: FakeWebhook, tables: QueueDatabase
) -> None:
    wanted = {"topic": "alert", "endpoint": {"channel": "webhook", "address": webhook.url, "secret": SECRET}}
    answers = await asyncio.gather(*(api.ask("POST", "/v1/subscriptions", wanted) for _ in range(8)))

    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert len({answer["data"]["id"] for _, answer in answers}) == 1
    assert tables.rows("select count(*) from endpoint") == [(1,)]


async def test_another_filter_is_another_subscription_of_the_same_endpoint(api: Api, webhook: FakeWebhook) -> None:
    first = await api.subscribe(webhook.url, languages=["rust"])
    second = await api.subscribe(webhook.url, languages=["c#"])

    assert first["id"] != second["id"]
    assert first["endpoint"]["id"] == second["endpoint"]["id"]
    assert second["languages"] == ["c%23"]


@pytest.mark.parametrize(
    ("members", "status", "field"),
    [
        ({"topic": "nonsense"}, 422, "topic"),
        ({"languages": ["rost"]}, 422, "languages"),
        ({"time_zone": "Asia/Shangri-La"}, 422, "time_zone"),
        ({"time_zone": "CST6"}, 422, "time_zone"),
        ({"quiet_from": "22:00"}, 400, "quiet_until"),
        ({"endpoint": {}}, 400, "endpoint.channel"),
        ({"endpoint": {"channel": "webhook", "address": "nowhere"}}, 400, "endpoint.address"),
        ({"endpoint": {"channel": "webhook", "address": "https://a.example", "more": 1}}, 400, "endpoint.more"),
        ({"nonsense": 1}, 400, "nonsense"),
    ],
)
async def test_wrong_subscription_is_refused_naming_the_field_and_not_kept(
    api: Api, tables: QueueDatabase, members: dict[str, Any], status: int, field: str
) -> None:
    wanted = {
        "topic": "trending.entered",
        "endpoint": {"channel": "webhook", "address": "https://a.example"},
        **members,
    }
    answered, problem = await api.ask("POST", "/v1/subscriptions", wanted)

    assert (answered, problem["parameter"]) == (status, field)
    assert tables.rows("select * from endpoint") == []


@pytest.mark.parametrize(
    "endpoint",
    [
        {"config": {"a": "\0"}},
        {"address": "http://a\0b/"},
        {"address": "http://a..b/"},
        {"address": f"http://{'a' * 64}.example/"},
        {"address": "http://xn--/"},
        {"secret": "whsec_é"},
    ],
    ids=str,
)
async def test_endpoint_that_cannot_be_is_refused_and_not_kept(
    api: Api, webhook: FakeWebhook, tables: QueueDatabase, endpoint: dict[str, Any]
) -> None:
    whole = {"channel": "webhook", "address": webhook.url, **endpoint}
    status, answer = await api.ask("POST", "/v1/subscriptions", {"topic": "trending.entered", "endpoint": whole})

    assert (status, answer["code"]) == (400, "invalid_parameter")
    assert answer["parameter"].startswith("endpoint.")
    assert tables.rows("select * from endpoint") == []


async def test_what_is_given_in_a_change_is_changed_and_the_rest_stays(api: Api, webhook: FakeWebhook) -> None:
    created = await api.subscribe(webhook.url, languages=["rust"], minimum_period_stars=10)
    path = f"/v1/subscriptions/{created['id']}"
    quiet = {"quiet_from": "22:00", "quiet_until": "07:00", "time_zone": "Asia/Shanghai"}
    status, answer = await api.ask("PATCH", path, {**quiet, "minimum_period_stars": None, "paused": True})

    assert status == 200
    changed = answer["data"]
    assert {name: changed[name] for name in quiet} == quiet
    assert (changed["minimum_period_stars"], changed["paused"], changed["languages"]) == (None, True, ["rust"])
    assert (await api.ask("GET", path))[1]["data"] == changed


async def test_subscription_that_the_settings_made_can_be_paused(api: Api, tables: QueueDatabase) -> None:
    [(id_,)] = tables.rows(
        "with new as (insert into endpoint (name, channel) values ('settings:x', 'slack') returning id)"
        " insert into subscription (endpoint_id, topic) select id, 'alert' from new returning id"
    )
    status, answer = await api.ask("PATCH", f"/v1/subscriptions/{id_}", {"paused": True})

    assert (status, answer["data"]["paused"], answer["data"]["languages"]) == (200, True, [])


async def test_digest_knows_when_it_comes_and_keeps_that_until_its_hour_changes(
    api: Api, webhook: FakeWebhook, tables: QueueDatabase
) -> None:
    created = await api.subscribe(webhook.url, topic="trending.digest", mode="weekly", digest_weekday="sunday")
    assert created["next_digest_at"] is not None
    tables.rows("update subscription set next_digest_at = '2126-01-01 00:00+00'")
    path = f"/v1/subscriptions/{created['id']}"
    kept = (await api.ask("PATCH", path, {"languages": ["rust"]}))[1]["data"]
    moved = (await api.ask("PATCH", path, {"digest_hour": 9}))[1]["data"]

    assert kept["next_digest_at"].startswith("2126-01-01")
    assert moved["next_digest_at"][11:16] == "09:00"


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"topic": "alert"}, 400, "topic"),
        ({"endpoint": {}}, 400, "endpoint"),
        ({"since": "hourly"}, 422, "since"),
        ({"paused": 1}, 400, "paused"),
    ],
)
async def test_wrong_change_is_refused_and_changes_nothing(
    api: Api, webhook: FakeWebhook, changes: dict[str, Any], status: int, field: str
) -> None:
    created = await api.subscribe(webhook.url)
    path = f"/v1/subscriptions/{created['id']}"
    before = (await api.ask("GET", path))[1]
    answered, problem = await api.ask("PATCH", path, changes)

    assert (answered, problem["parameter"]) == (status, field)
    assert (await api.ask("GET", path))[1] == before


async def test_change_into_another_subscription_is_a_conflict(api: Api, webhook: FakeWebhook) -> None:
    await api.subscribe(webhook.url, languages=["rust"])
    other = await api.subscribe(webhook.url, languages=["c#"])
    status, problem = await api.ask("PATCH", f"/v1/subscriptions/{other['id']}", {"languages": ["rust"]})

    assert (status, problem["code"]) == (409, "conflict")


async def test_endpoint_goes_with_the_last_of_its_subscriptions(
    api: Api, webhook: FakeWebhook, tables: QueueDatabase
) -> None:
    first = await api.subscribe(webhook.url, languages=["rust"])
    second = await api.subscribe(webhook.url, languages=["c#"])

    assert (await api.ask("DELETE", f"/v1/subscriptions/{first['id']}"))[0] == 204
    assert tables.rows("select count(*) from endpoint") == [(1,)]
    assert (await api.ask("DELETE", f"/v1/subscriptions/{second['id']}"))[0] == 204
    assert tables.rows("select count(*) from endpoint") == [(0,)]
    assert (await api.ask("DELETE", f"/v1/subscriptions/{second['id']}"))[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/subscriptions/999"),
        ("PATCH", "/v1/subscriptions/999"),
        ("DELETE", "/v1/subscriptions/999"),
        ("POST", "/v1/subscriptions/999/confirm"),
        ("POST", "/v1/notifications/999/retry"),
        ("POST", "/v1/subscriptions/999/rotate-secret"),
        ("GET", "/v1/subscriptions/x"),
        ("GET", "/v1/notifications/999"),
    ],
)
async def test_what_there_is_not_is_not_found(api: Api, method: str, path: str) -> None:
    assert (await api.ask(method, path, {} if method == "PATCH" else None))[0] == 404


async def test_list_comes_in_pages_the_newest_first(api: Api, webhook: FakeWebhook, tables: QueueDatabase) -> None:
    created = await api.subscribe(webhook.url)
    tables.rows(
        "insert into subscription (endpoint_id, topic, repository)"
        " select %s, 'release.published', 'a/' || number from generate_series(1, 40) number",
        (created["endpoint"]["id"],),
    )
    first = (await api.ask("GET", "/v1/subscriptions"))[1]
    second = (await api.ask("GET", "/v1/subscriptions?page=2"))[1]
    alone = (await api.ask("GET", "/v1/subscriptions?topic=trending.entered&channel=webhook"))[1]

    assert [len(page["data"]) for page in (first, second)] == [30, 11]
    assert [page["meta"]["next_page"] for page in (first, second)] == [2, None]
    assert first["data"][0]["repository"] == "a/40"
    assert [one["id"] for one in alone["data"]] == [created["id"]]


async def test_there_is_a_most(api: Api, webhook: FakeWebhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions_module, "MOST_SUBSCRIPTIONS", 1)
    await api.subscribe(webhook.url)
    wanted = {"topic": "alert", "endpoint": {"channel": "webhook", "address": webhook.url}}
    status, problem = await api.ask("POST", "/v1/subscriptions", wanted)

    assert (status, problem["code"]) == (409, "conflict")


async def test_rotated_secret_signs_beside_the_one_before(api: Api, webhook: FakeWebhook) -> None:
    created = await api.subscribe(webhook.url)
    status, answer = await api.ask("POST", f"/v1/subscriptions/{created['id']}/rotate-secret")
    assert status == 200
    assert answer["data"]["secret"] not in {SECRET, None}

    await api.ask("POST", f"/v1/subscriptions/{created['id']}/confirm")
    assert [one.is_signed for one in webhook.received] == [True, True]
    assert len(webhook.received[1].headers["webhook-signature"].split()) == 2


async def test_answers_are_stored_by_nobody(api: Api) -> None:
    answer = await api.head("/v1/subscriptions", **HEADERS)
    assert answer.headers["Cache-Control"] == "private, no-store"


# Notifications


@pytest.fixture
def history(tables: QueueDatabase) -> dict[str, int]:
    """One notification in each state, by state: its id."""
    tables.rows("insert into channel values ('webhook', true) on conflict (name) do update set paused = true")
    [(endpoint,)] = tables.rows(
        "insert into endpoint (channel, address_hint) values ('webhook', 'https://a.example/…') returning id"
    )
    found = {}
    for state in ("waiting", "held", "delivered", "dead", "cancelled"):
        [(message,)] = tables.rows(
            "insert into message (topic, body, subject) values ('release.published', '{\"tag\": \"v1\"}', %s) returning id",
            (f"release:a/b@{state}",),
        )
        [(found[state],)] = tables.rows(
            "insert into delivery (message_id, endpoint_id, channel, state, run_at, attempt)"
            " values (%s, %s, 'webhook', %s, now() + interval '1 h', 1) returning id",
            (message, endpoint, "held" if state == "held" else "ready"),
        )
        if state in {"delivered", "dead", "cancelled"}:
            tables.rows(
                """with gone as (delete from delivery where id = %(id)s returning *), tried as (
                    insert into delivery_record (delivery_id, message_id, endpoint_id, channel, attempt, outcome, http_status)
                    select id, message_id, endpoint_id, channel, 1, %(state)s, 200 from gone
                )
                insert into dead_letter (delivery_id, message_id, endpoint_id, channel, attempt, created_at, reason)
                select id, message_id, endpoint_id, channel, 1, created_at, 'it said no' from gone where %(state)s = 'dead'
                """,
                {"id": found[state], "state": state},
            )
    return found


async def test_notifications_are_listed_in_every_state_the_newest_first(api: Api, history: dict[str, int]) -> None:
    answer = (await api.ask("GET", "/v1/notifications"))[1]

    assert [(one["id"], one["state"]) for one in answer["data"]] == [
        (id_, state) for state, id_ in reversed(history.items())
    ]
    assert {one["address"] for one in answer["data"]} == {"https://a.example/…"}
    for state, id_ in history.items():
        alone = (await api.ask("GET", f"/v1/notifications?state={state}&topic=release.published"))[1]
        assert [one["id"] for one in alone["data"]] == [id_]
    assert (await api.ask("GET", "/v1/notifications?topic=alert"))[1]["data"] == []
    endpoint = answer["data"][0]["endpoint_id"]
    assert len((await api.ask("GET", f"/v1/notifications?endpoint={endpoint}"))[1]["data"]) == 5
    assert (await api.ask("GET", f"/v1/notifications?endpoint={endpoint + 1}"))[1]["data"] == []


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [("state=lost", 422, "state"), ("endpoint=x", 400, "endpoint"), ("page=0", 400, "page"), ("page=101", 422, "page")],
)
async def test_wrong_filter_is_refused(api: Api, query: str, status: int, field: str) -> None:
    answered, problem = await api.ask("GET", f"/v1/notifications?{query}")
    assert (answered, problem["parameter"]) == (status, field)


async def test_one_notification_comes_with_its_message_and_tries(api: Api, history: dict[str, int]) -> None:
    data = (await api.ask("GET", f"/v1/notifications/{history['delivered']}"))[1]["data"]

    assert (data["state"], data["body"], data["subject"]) == ("delivered", {"tag": "v1"}, "release:a/b@delivered")
    assert [(one["attempt"], one["outcome"], one["http_status"]) for one in data["tries"]] == [(1, "delivered", 200)]
    assert data["idempotency_key"].endswith(f"_{data['endpoint_id']}")


async def test_waiting_notification_can_be_hurried(api: Api, history: dict[str, int], tables: QueueDatabase) -> None:
    status, answer = await api.ask("POST", f"/v1/notifications/{history['waiting']}/retry")

    assert (status, answer["data"]["id"]) == (200, history["waiting"])
    assert tables.rows("select run_at <= now() from delivery where id = %s", (history["waiting"],)) == [(True,)]


async def test_dead_notification_is_replayed_once_under_the_same_key(api: Api, history: dict[str, int]) -> None:
    before = (await api.ask("GET", f"/v1/notifications/{history['dead']}"))[1]["data"]
    status, answer = await api.ask("POST", f"/v1/notifications/{history['dead']}/retry")

    assert status == 200
    replayed = answer["data"]
    assert replayed["id"] != history["dead"]
    assert (replayed["state"], replayed["idempotency_key"]) == ("waiting", before["idempotency_key"])
    after = (await api.ask("GET", f"/v1/notifications/{history['dead']}"))[1]["data"]
    assert (after["state"], after["replayed_as"]) == ("replayed", replayed["id"])
    assert (await api.ask("POST", f"/v1/notifications/{history['dead']}/retry"))[0] == 409


async def test_what_is_over_or_has_nowhere_to_go_is_not_retried(
    api: Api, history: dict[str, int], tables: QueueDatabase
) -> None:
    assert (await api.ask("POST", f"/v1/notifications/{history['delivered']}/retry"))[0] == 409
    tables.rows("update endpoint set state = 'disabled'")
    status, problem = await api.ask("POST", f"/v1/notifications/{history['dead']}/retry")
    assert (status, "disabled" in problem["detail"]) == (409, True)


async def test_subscribed_webhook_is_told_signed(api: Api, webhook: FakeWebhook, tables: QueueDatabase) -> None:
    await api.subscribe(webhook.url, topic="release.published", repository="a/b")
    tables.rows(
        """select enqueue_notification('release.published',
            '{"repository": "a/b", "tag": "v1", "name": "v1", "html_url": "https://github.com/a/b",
              "published_at": "2026-11-27T10:00:00Z", "prerelease": false, "excerpt": ""}', subject => 'release:a/b@1')"""
    )
    await eventually(lambda: len(webhook.taken) == 2, 10)

    message = webhook.taken[1]
    assert (message.payload["type"], message.payload["data"]["tag"], message.is_signed) == (
        "release.published",
        "v1",
        True,
    )


async def test_what_was_held_is_told_once_its_endpoint_is_confirmed_again(
    api: Api, webhook: FakeWebhook, tables: QueueDatabase
) -> None:
    created = await api.subscribe(webhook.url, topic="alert")
    tables.rows("update endpoint set blocked_until = now() + interval '1 h', failures = 9 where name is null")
    tables.enqueue()
    await eventually(lambda: tables.rows("select 1 from delivery where state = 'held'"), 10)
    tables.rows("update endpoint set state = 'disabled' where name is null")
    await api.ask("POST", f"/v1/subscriptions/{created['id']}/confirm")

    await eventually(lambda: [one.payload["type"] for one in webhook.taken][2:] == ["alert"], 10)


@pytest.mark.parametrize("action", ["confirm", "rotate-secret"])
async def test_endpoint_of_another_secret_key_is_a_conflict(
    api: Api, webhook: FakeWebhook, tables: QueueDatabase, action: str
) -> None:
    created = await api.subscribe(webhook.url)
    tables.rows("update endpoint set address_encrypted = 'other', secret_encrypted = 'other'")

    status, answer = await api.ask("POST", f"/v1/subscriptions/{created['id']}/{action}")
    assert (status, answer["code"]) == (409, "conflict")
    assert "SECRET_KEY" in answer["detail"]

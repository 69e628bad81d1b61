"""`/v1/wechat/push`: WeChat's pushes as the notifier takes them, into the ledger of consent."""

import base64
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from pydantic import SecretStr

from notifier_service.app import make_app
from notifier_service.settings import NotifierSettings
from notifier_service.wechat.ledger import Ledger
from service_kit.database import DATABASE
from tests.fakes.wechat import APP_ID, APP_SECRET, OPENID, TEMPLATE
from tests.queue_database import QueueDatabase

Client = TestClient[web.Request, web.Application]
Start = Callable[..., Awaitable[Client]]
KEY = SecretStr("a secret key that is long enough to be one")
TOKEN = "a-token-of-ours"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
PATH = "/v1/wechat/push"


@pytest.fixture
def start(aiohttp_client: Any, database_url: str) -> Start:
    async def start(**more: Any) -> Client:
        given = {
            "database_url": SecretStr(database_url),
            "secret_key": KEY,
            "wechat_app_id": APP_ID,
            "wechat_app_secret": SecretStr(APP_SECRET),
            "wechat_push_token": SecretStr(TOKEN),
            **more,
        }
        client: Client = await aiohttp_client(make_app(NotifierSettings(**given)))
        return client

    return start


@pytest.fixture
async def notifier(start: Start) -> Client:
    return await start()


@pytest.fixture
async def encrypting(start: Start) -> Client:
    return await start(wechat_push_aes_key=SecretStr(AES_KEY))


def signed(*more: str, at: float | None = None, name: str = "signature", token: str = TOKEN) -> dict[str, str]:
    """The parameters of a push, as WeChat signs them."""
    timestamp, nonce = str(int(time.time() if at is None else at)), "486452656"
    signature = hashlib.sha1("".join(sorted([token, timestamp, nonce, *more])).encode()).hexdigest()
    return {name: signature, "timestamp": timestamp, "nonce": nonce}


def accepted(created_at: int = 1620973045, *, as_array: bool = True) -> dict[str, Any]:
    entry = {"TemplateId": TEMPLATE, "SubscribeStatusString": "accept", "PopupScene": "0"}
    return event("subscribe_msg_popup_event", [entry] if as_array else entry, created_at)


def event(name: str, entries: Any, created_at: int = 1620973045) -> dict[str, Any]:
    return {
        "ToUserName": "gh_123456789abc",
        "FromUserName": OPENID,
        "CreateTime": str(created_at),
        "MsgType": "event",
        "Event": name,
        "List": entries,
    }


def encrypt(message: dict[str, Any]) -> dict[str, str]:
    plain = json.dumps(message).encode()
    content = b"0123456789abcdef" + len(plain).to_bytes(4, "big") + plain + APP_ID.encode()
    missing = 32 - len(content) % 32
    key = base64.b64decode(AES_KEY + "=")
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    encrypted = encryptor.update(content + bytes([missing]) * missing) + encryptor.finalize()
    return {"ToUserName": "gh_123456789abc", "Encrypt": base64.b64encode(encrypted).decode()}


async def push(client: Client, message: Any, parameters: dict[str, str] | None = None) -> ClientResponse:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return await client.post(PATH, params=signed() if parameters is None else parameters, data=body)


async def push_encrypted(client: Client, message: dict[str, Any]) -> ClientResponse:
    body = encrypt(message)
    parameters = {**signed(), **signed(body["Encrypt"], name="msg_signature"), "encrypt_type": "aes"}
    return await push(client, body, parameters)


async def left(client: Client) -> int:
    return await Ledger(client.app[DATABASE], KEY).available(OPENID, TEMPLATE)


async def test_the_check_of_the_address_gets_its_echostr(notifier: Client) -> None:
    answer = await notifier.get(PATH, params={**signed(), "echostr": "4375120948345356249"})

    assert (answer.status, answer.content_type, await answer.text()) == (200, "text/plain", "4375120948345356249")


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {**signed(), "signature": "0" * 40},
        signed(token="another token"),
        signed(at=time.time() - 3600),
        {**signed(), "timestamp": "soon"},
    ],
    ids=["nothing", "wrong", "another-token", "old", "no-time"],
)
async def test_who_is_not_wechat_gets_403(notifier: Client, parameters: dict[str, str]) -> None:
    assert (await notifier.get(PATH, params={**parameters, "echostr": "1"})).status == 403
    assert (await push(notifier, accepted(), parameters)).status == 403
    assert await left(notifier) == 0


@pytest.mark.parametrize("as_array", [True, False])
async def test_acceptance_is_booked(notifier: Client, as_array: bool) -> None:
    answer = await push(notifier, accepted(as_array=as_array))

    assert (answer.status, await answer.text()) == (200, "success")
    assert await left(notifier) == 1


async def test_encrypted_acceptance_is_booked(encrypting: Client) -> None:
    assert (await push_encrypted(encrypting, accepted())).status == 200
    assert await left(encrypting) == 1


async def test_repeated_push_is_booked_once_however_it_is_encrypted(encrypting: Client) -> None:
    for _ in range(3):
        assert (await push_encrypted(encrypting, accepted())).status == 200
    await push_encrypted(encrypting, accepted(1620973046))

    assert await left(encrypting) == 2


async def test_plain_push_is_refused_where_pushes_are_encrypted(encrypting: Client) -> None:
    answer = await push(encrypting, accepted())

    assert (answer.status, (await answer.json())["detail"]) == (
        403,
        "The push is not encrypted, although WECHAT_PUSH_AES_KEY is set.",
    )
    assert await left(encrypting) == 0


async def test_encrypted_push_without_a_key_says_which_setting_is_missing(notifier: Client) -> None:
    answer = await push_encrypted(notifier, accepted())

    assert (answer.status, (await answer.json())["detail"]) == (
        403,
        "The push is encrypted, but WECHAT_PUSH_AES_KEY is not set.",
    )


async def test_encrypted_push_is_not_taken_on_the_signature_of_plain_ones(encrypting: Client) -> None:
    body = encrypt(accepted())
    parameters = {**signed(), "msg_signature": signed()["signature"], "encrypt_type": "aes"}

    assert (await push(encrypting, body, parameters)).status == 403


async def test_withdrawal_zeroes(notifier: Client) -> None:
    await push(notifier, accepted(1))
    await push(notifier, accepted(2))
    await push(
        notifier, event("subscribe_msg_change_event", [{"TemplateId": TEMPLATE, "SubscribeStatusString": "reject"}])
    )

    assert await left(notifier) == 0


@pytest.mark.parametrize(
    ("errcode", "expected"), [("0", 1), ("45009", 2), ("43101", 0)], ids=["sent", "not-sent", "used-up"]
)
async def test_report_on_a_message_settles_it_for_good(
    notifier: Client, database_url: str, errcode: str, expected: int
) -> None:
    ledger = Ledger(notifier.app[DATABASE], KEY)
    tables = QueueDatabase(database_url)
    for created_at in (1, 2):
        await push(notifier, accepted(created_at))
    await ledger.reserve(7, 1, OPENID, TEMPLATE)
    tables.rows(
        "insert into delivery_record (delivery_id, message_id, channel, attempt, outcome, provider_id)"
        " values (7, 42, 'wechat', 1, 'delivered', '1988810812324364291')"
    )
    report = {"TemplateId": TEMPLATE, "MsgID": "1988810812324364291", "ErrorCode": errcode, "ErrorStatus": "x"}
    for created_at in (3, 3, 4):  # the same twice, and another one of the same message
        await push(notifier, event("subscribe_msg_sent_event", [report], created_at))

    assert await left(notifier) == expected
    assert tables.rows("select * from wechat_reservation") == []


async def test_other_events_are_answered_and_ignored(notifier: Client) -> None:
    assert (await push(notifier, event("user_enter_tempsession", []))).status == 200


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"<xml></xml>", "choose JSON as the data format"),
        (b"", "choose JSON as the data format"),
        (b'{"Event":"subscribe_msg_popup_event","FromUserName":"o","List":[{}]}', "TemplateId"),
    ],
)
async def test_what_is_not_understood_is_said(notifier: Client, message: bytes, said: str) -> None:
    answer = await push(notifier, message)

    assert answer.status == 400
    assert said in (await answer.json())["detail"]


async def test_push_larger_than_any_event_is_refused(notifier: Client) -> None:
    assert (await push(notifier, b"x" * 100_000)).status == 413


async def test_without_a_token_the_path_is_not_there(start: Start) -> None:
    client = await start(wechat_push_token=None)

    assert (await client.get(PATH, params={**signed(), "echostr": "1"})).status == 404
    assert (await push(client, accepted())).status == 404

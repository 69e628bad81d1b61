"""What WeChat pushes: the examples of its documents, and what is not from it."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from notifier_service.wechat.push_messages import (
    ConsentChange,
    NotFromWeChat,
    NotUnderstood,
    aes_key,
    check_signature,
    consent_changes,
    decrypt,
)

# The examples of "消息推送": one in plain mode, one encrypted.
TOKEN = "AAAAA"
ECHO = {
    "signature": "f464b24fc39322e44b38aa78f5edd27bd1441696",
    "timestamp": "1714036504",
    "nonce": "1514711492",
}
AES_KEY = "A" * 43
APP_ID = "wxba5fad812f8e6fb9"
ENCRYPTED = (
    "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6JsXUnnR"
    "8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajAsjLY2km3"
    "2IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04="
)
ENCRYPTED_SIGNATURE = {
    "signature": "046e02f8204d34f8ba5fa3b1db94908f3df2e9b3",
    "timestamp": "1714112445",
    "nonce": "415670741",
}
OPENID = "o7esq5OI1Uej6Xixw1lA2H7XDVbc"
TEMPLATE = "hD-ixGOhYmUfjOnI8MCzQMPshzGVeux_2vzyvQu7O68"


def encrypted(plain: bytes, *, receiver: str = APP_ID, length: int | None = None, padding: int = 0) -> str:
    """As WeChat encrypts; wrong where told."""
    content = bytes(16) + (len(plain) if length is None else length).to_bytes(4, "big") + plain + receiver.encode()
    missing = 32 - len(content) % 32
    content += bytes([padding or missing]) * missing
    encryptor = Cipher(algorithms.AES(aes_key(AES_KEY)), modes.CBC(bytes(16))).encryptor()
    return base64.b64encode(encryptor.update(content) + encryptor.finalize()).decode()


def test_the_documented_signature_is_right() -> None:
    check_signature(TOKEN, **ECHO, now=1714036504)


def test_the_documented_encrypted_push_is_read() -> None:
    check_signature(
        TOKEN,
        ENCRYPTED_SIGNATURE["signature"],
        ENCRYPTED_SIGNATURE["timestamp"],
        ENCRYPTED_SIGNATURE["nonce"],
        ENCRYPTED,
        now=1714112445,
    )
    event = json.loads(decrypt(ENCRYPTED, aes_key(AES_KEY), APP_ID))
    assert (event["Event"], event["debug_str"]) == ("debug_demo", "hello world")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"signature": "0" * 40}, "not WeChat's"),
        ({"signature": ""}, "not WeChat's"),
        ({"signature": "\u00fc"}, "not WeChat's"),
        ({"nonce": "1514711493"}, "not WeChat's"),
        ({"timestamp": "1714036505"}, "not WeChat's"),
    ],
)
def test_another_signature_is_refused(change: dict[str, str], said: str) -> None:
    with pytest.raises(NotFromWeChat, match=said):
        check_signature(TOKEN, **{**ECHO, **change}, now=1714036504)


@pytest.mark.parametrize(("age_seconds", "is_taken"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_a_push_is_taken_for_five_minutes(age_seconds: int, is_taken: bool) -> None:
    if is_taken:
        check_signature(TOKEN, **ECHO, now=1714036504 + age_seconds)
    else:
        with pytest.raises(NotFromWeChat, match="five minutes"):
            check_signature(TOKEN, **ECHO, now=1714036504 + age_seconds)


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "not Base64!",
        base64.b64encode(b"seventeen bytes..").decode(),
        ENCRYPTED[:-24] + ENCRYPTED[-4:],
        encrypted(b"{}", receiver="wx0000000000000000"),
        encrypted(b"{}", length=4000),
        encrypted(b"{}", length=1),
        encrypted(b"{}", padding=33),
    ],
    ids=["empty", "no-base64", "no-blocks", "cut", "another-receiver", "too-long", "too-short", "bad-padding"],
)
def test_what_was_not_encrypted_for_us_is_refused(damaged: str) -> None:
    with pytest.raises(NotFromWeChat):
        decrypt(damaged, aes_key(AES_KEY), APP_ID)


def test_encrypted_text_survives_whatever_its_length() -> None:
    for length in range(70):
        plain = ("中" * length).encode()
        assert decrypt(encrypted(plain), aes_key(AES_KEY), APP_ID) == plain


@pytest.mark.parametrize("key", ["", "A" * 42, "A" * 44, "*" * 43])
def test_a_wrong_aes_key_is_refused_and_not_quoted(key: str) -> None:
    with pytest.raises(ValueError, match="43 characters") as refusal:
        aes_key(key)
    assert key == "" or key not in str(refusal.value)


def popup(*entries: dict[str, Any], as_array: bool = True) -> dict[str, Any]:
    return {"List": list(entries) if as_array else entries[0]}


ACCEPT = {"TemplateId": TEMPLATE, "SubscribeStatusString": "accept", "PopupScene": "0"}
REJECT = {"TemplateId": "another", "SubscribeStatusString": "reject", "PopupScene": "0"}
ACCEPTED = ConsentChange(OPENID, TEMPLATE, "accepted")


@pytest.mark.parametrize(
    ("event", "members", "expected"),
    [
        ("subscribe_msg_popup_event", popup(ACCEPT), [ACCEPTED]),
        ("subscribe_msg_popup_event", popup(ACCEPT, as_array=False), [ACCEPTED]),
        ("subscribe_msg_popup_event", popup(ACCEPT, REJECT), [ACCEPTED]),
        ("subscribe_msg_popup_event", {"SubscribeMsgPopupEvent": popup(ACCEPT)}, [ACCEPTED]),
        ("subscribe_msg_popup_event", {"SubscribeMsgPopupEvent": popup(ACCEPT, as_array=False)}, [ACCEPTED]),
        ("subscribe_msg_popup_event", {"SubscribeMsgPopupEvent": [ACCEPT, REJECT]}, [ACCEPTED]),
        ("subscribe_msg_popup_event", {"SubscribeMsgPopupEvent": [{"List": ACCEPT}]}, [ACCEPTED]),
        ("subscribe_msg_popup_event", popup(REJECT), []),
        (
            "subscribe_msg_change_event",
            popup({"TemplateId": TEMPLATE, "SubscribeStatusString": "reject"}),
            [ConsentChange(OPENID, TEMPLATE, "withdrawn")],
        ),
        (
            "subscribe_msg_sent_event",
            popup({"TemplateId": TEMPLATE, "MsgID": "27941882", "ErrorCode": "0", "ErrorStatus": "success"}),
            [ConsentChange(OPENID, TEMPLATE, "sent", "27941882")],
        ),
        (
            "subscribe_msg_sent_event",
            popup({"TemplateId": TEMPLATE, "MsgID": 27941882, "ErrorCode": 43101}, as_array=False),
            [ConsentChange(OPENID, TEMPLATE, "not_sent", "27941882", 43101)],
        ),
        ("user_enter_tempsession", {"SessionFrom": "x"}, []),
        ("debug_demo", {}, []),
    ],
)
def test_event_tells_of_consent(event: str, members: dict[str, Any], expected: list[ConsentChange]) -> None:
    message = {"FromUserName": OPENID, "MsgType": "event", "Event": event, **members}

    assert consent_changes(json.dumps(message).encode()) == expected


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"<xml><Event>subscribe_msg_popup_event</Event></xml>", "choose JSON"),
        (b"\xff\xfe", "choose JSON"),
        (b'{"Event":"subscribe_msg_popup_event","List":{}}', "FromUserName"),
        (b'{"Event":"subscribe_msg_popup_event","FromUserName":"o","List":[{}]}', "TemplateId"),
        (b'{"Event":"subscribe_msg_popup_event","FromUserName":"o"}', "TemplateId"),
        (
            b'{"Event":"subscribe_msg_sent_event","FromUserName":"o","List":{"TemplateId":"t","ErrorCode":"x"}}',
            "ErrorCode",
        ),
    ],
)
def test_what_is_not_understood_is_said(message: bytes, said: str) -> None:
    with pytest.raises(NotUnderstood, match=said):
        consent_changes(message)


@pytest.mark.parametrize(
    "message", [b"[]", b"1", b'"text"', b"null", b"{}", b'{"Event":["subscribe_msg_popup_event"]}']
)
def test_other_messages_are_none_of_ours(message: bytes) -> None:
    assert consent_changes(message) == []


@pytest.mark.skipif("RECORDINGS_DIR" not in os.environ, reason="RECORDINGS_DIR names no folder of recordings")
def test_documented_samples_are_read() -> None:
    cases = json.loads((Path(os.environ["RECORDINGS_DIR"]) / "wechat" / "cases.json").read_text())

    signed = cases["push_signature_get"]
    check_signature(
        signed["token"], signed["signature"], signed["timestamp"], signed["nonce"], now=float(signed["timestamp"])
    )
    [change] = consent_changes(json.dumps(cases["subscribe_popup_event_json"]).encode())
    assert change == ConsentChange(
        cases["subscribe_popup_event_json"]["FromUserName"],
        cases["subscribe_popup_event_json"]["List"][0]["TemplateId"],
        "accepted",
    )
    with pytest.raises(NotUnderstood, match="choose JSON"):
        consent_changes(cases["subscribe_popup_event_xml"].encode())

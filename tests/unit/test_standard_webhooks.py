"""Standard Webhooks: signatures as the specification has them, and secrets that are rotated."""

import base64

import pytest

from notifier_service.standard_webhooks import check_secret, new_secret, rotated, signed_headers

# The example of the specification's own libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'


def test_headers_are_those_of_the_specification_s_example() -> None:
    assert signed_headers(MESSAGE_ID, TIMESTAMP, BODY, SECRET) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    ("message_id", "timestamp", "body"),
    [("msg_other", TIMESTAMP, BODY), (MESSAGE_ID, TIMESTAMP + 1, BODY), (MESSAGE_ID, TIMESTAMP, BODY + b" ")],
    ids=["id", "timestamp", "body"],
)
def test_signature_covers_id_timestamp_and_body(message_id: str, timestamp: int, body: bytes) -> None:
    signed = signed_headers(MESSAGE_ID, TIMESTAMP, BODY, SECRET)

    assert signed_headers(message_id, timestamp, body, SECRET)["webhook-signature"] != signed["webhook-signature"]


def test_while_a_secret_is_rotated_both_sign() -> None:
    both = rotated(SECRET)
    newest, oldest = both.split()

    signatures = signed_headers(MESSAGE_ID, TIMESTAMP, BODY, both)["webhook-signature"].split()
    assert oldest == SECRET
    assert signatures == [
        signed_headers(MESSAGE_ID, TIMESTAMP, BODY, secret)["webhook-signature"] for secret in (newest, SECRET)
    ]


def test_the_next_rotation_drops_the_oldest_secret() -> None:
    first = rotated(SECRET)
    second = rotated(first)

    assert len(second.split()) == 2
    assert second.split()[1] == first.split()[0]
    assert SECRET not in second


def test_new_secrets_differ_and_have_keys_of_32_bytes() -> None:
    one, other = new_secret(), new_secret()

    assert one != other
    assert len(base64.b64decode(one.removeprefix("whsec_"))) == 32
    check_secret(one)


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_" + "A" * 100, "whsec_*****" * 8],
)
def test_what_is_no_secret_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes") as refusal:
        check_secret(secret)
    assert secret == "" or secret[6:] == "" or secret not in str(refusal.value)

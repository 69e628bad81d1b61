"""Encryption of secrets for the database: who can read them, and who cannot."""

import pytest
from pydantic import SecretStr

from service_kit.encryption import Encryption, Undecipherable

KEY = SecretStr("a secret key that is long enough to be one")
OTHER_KEY = SecretStr("another secret key that is long enough too")


def test_what_was_encrypted_is_read_with_the_same_key_and_purpose() -> None:
    encrypted = Encryption(KEY, "webhook secrets").encrypt("пароль 密码")

    assert "密码".encode() not in encrypted
    assert Encryption(KEY, "webhook secrets").decrypt(memoryview(encrypted)) == "пароль 密码"


@pytest.mark.parametrize(
    "other", [Encryption(OTHER_KEY, "webhook secrets"), Encryption(KEY, "account tokens")], ids=["key", "purpose"]
)
def test_another_key_or_purpose_reads_nothing(other: Encryption) -> None:
    encrypted = Encryption(KEY, "webhook secrets").encrypt("a secret")

    with pytest.raises(Undecipherable, match="not encrypted with this SECRET_KEY"):
        other.decrypt(encrypted)


def test_what_was_changed_is_not_read() -> None:
    encrypted = bytearray(Encryption(KEY, "webhook secrets").encrypt("a secret"))
    encrypted[30] ^= 1

    with pytest.raises(Undecipherable):
        Encryption(KEY, "webhook secrets").decrypt(bytes(encrypted))


def test_a_digest_is_the_same_each_time_and_another_for_each_key_purpose_and_text() -> None:
    digest = Encryption(KEY, "endpoints").digest("https://a.example")

    assert digest == Encryption(KEY, "endpoints").digest("https://a.example")
    assert len({
        digest,
        Encryption(OTHER_KEY, "endpoints").digest("https://a.example"),
        Encryption(KEY, "account tokens").digest("https://a.example"),
        Encryption(KEY, "endpoints").digest("https://b.example"),
    }) == 4  # fmt: skip

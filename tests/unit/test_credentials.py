"""Whose credential a call uses."""

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from github_client.credentials import (
    ANONYMOUS,
    Credential,
    OperatorCredentials,
    application_credential,
    caller_credential,
    credential_in,
    identity_key,
)
from github_client.service import DataServiceSettings
from service_kit.errors import Unauthorized

FIRST, SECOND = (Credential("operator", name, f"ghp_{name}") for name in ("first", "second"))


@pytest.mark.parametrize("header", ["Bearer abc", "token abc", "abc", "bearer  abc "])
def test_a_callers_token_is_read_in_every_form(header: str) -> None:
    credential = credential_in(header)
    assert credential is not None
    assert credential.kind == "caller"
    assert credential.headers() == {"Authorization": "Bearer abc"}


@pytest.mark.parametrize("header", [None, "", "  "])
def test_no_header_is_no_caller(header: str | None) -> None:
    assert credential_in(header) is None


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer a b", "Bearer a\u00e9", "x" * 256])
def test_what_cannot_be_a_token_is_refused_before_github_is_asked(header: str) -> None:
    with pytest.raises(Unauthorized):
        credential_in(header)


def test_a_token_never_shows() -> None:
    assert "ghp_" not in repr(caller_credential("ghp_secret")) + f"{FIRST} {FIRST!r}"


def test_without_credentials_access_is_anonymous() -> None:
    credentials = OperatorCredentials([])
    assert credentials.all() == (ANONYMOUS,)
    assert ANONYMOUS.headers() == {}
    credentials.replace_stored([FIRST])
    assert credentials.all() == (FIRST,)


def test_an_identity_is_the_same_on_every_replica_and_gives_nothing_away() -> None:
    key, other_key = (identity_key(SecretStr(secret * 40)) for secret in "ab")
    of = [Credential("operator", "x", "ghp_secret", key=key).identity for _ in range(2)]
    assert of[0] == of[1]
    assert "ghp_" not in of[0]
    assert Credential("operator", "x", "ghp_secret", key=other_key).identity != of[0]
    assert caller_credential("ghp_secret").identity not in of
    assert caller_credential("ghp_secret").identity == caller_credential("ghp_secret").identity
    assert caller_credential("ghp_secret").identity != caller_credential("ghp_other").identity


def test_an_application_is_a_credential() -> None:
    credential = application_credential("Iv1.0", SecretStr("hush"), b"key")
    assert credential.kind == "operator"
    assert credential.headers() == {"Authorization": "Basic SXYxLjA6aHVzaA=="}
    assert "hush" not in repr(credential)


@pytest.mark.parametrize("given", [{"github_client_id": "Iv1.0"}, {"github_client_secret": SecretStr("hush")}])
def test_half_an_application_is_refused_at_the_start(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="both or none"):
        data_service_settings(**given)


def test_tokens_and_an_application_are_credentials_by_their_place() -> None:
    found = data_service_settings(
        github_tokens=SecretStr("ghp_a, ghp_b,"), github_client_id="Iv1.0", github_client_secret=SecretStr("hush")
    ).operator_credentials()
    assert [one.name for one in found] == ["GITHUB_TOKENS[0]", "GITHUB_TOKENS[1]", "GITHUB_CLIENT_ID"]
    assert len({one.identity for one in found}) == 3


def data_service_settings(**given: Any) -> DataServiceSettings:
    return DataServiceSettings(
        database_url=SecretStr("postgresql://x@y/z"), secret_key=SecretStr("k" * 40), port=8081, **given
    )

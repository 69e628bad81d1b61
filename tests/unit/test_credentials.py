"""Whose credential a call uses."""

import pytest

from github_client.credentials import ANONYMOUS, Credential, OperatorCredentials, caller_credential, credential_in
from service_kit.errors import Unauthorized, UpstreamLimited

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
    assert "ghp_" not in repr(caller_credential("ghp_secret")) + str(vars) + f"{FIRST}"


def test_without_credentials_access_is_anonymous() -> None:
    credentials = OperatorCredentials([])
    assert credentials.choose("core", 0) is ANONYMOUS
    assert ANONYMOUS.headers() == {}


def test_credentials_take_turns() -> None:
    credentials = OperatorCredentials([FIRST])
    credentials.replace_stored([SECOND])
    assert {credentials.choose("core", 0).name for _ in range(2)} == {"first", "second"}


def test_a_limited_credential_rests_for_its_bucket_only() -> None:
    credentials = OperatorCredentials([FIRST, SECOND])
    credentials.rest(FIRST, "search", until=60)
    assert {credentials.choose("search", 0).name for _ in range(4)} == {"second"}
    assert {credentials.choose("core", 0).name for _ in range(4)} == {"first", "second"}
    assert {credentials.choose("search", 60).name for _ in range(4)} == {"first", "second"}


def test_when_all_rest_the_soonest_is_told() -> None:
    credentials = OperatorCredentials([FIRST, SECOND])
    credentials.rest(FIRST, "core", until=60)
    credentials.rest(SECOND, "core", until=45.5)
    with pytest.raises(UpstreamLimited) as caught:
        credentials.choose("core", 10)
    assert caught.value.retry_after_seconds == 36

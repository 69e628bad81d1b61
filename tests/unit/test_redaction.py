"""What looks like a credential is replaced wherever it appears."""

import pytest

from service_kit.redaction import REDACTED, redact

SECRET = "S3cretS3cretS3cretS3cretS3cretS3cretS3cr"


@pytest.mark.parametrize(
    "text",
    [
        f"GET /developers?token={SECRET}&page=1",
        f"/developers?token%3D{SECRET}",
        f"b'GET /developers?token={SECRET}\\x00'",
        f"access_token={SECRET}",
        f"client_secret={SECRET}",
        f"secret={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization: token {SECRET}",
        f"Authorization: {SECRET}",
        f'{{"Authorization": "Basic {SECRET}"}}',
        f'{{\\"authorization\\": \\"{SECRET}\\"}}',
        f"<CIMultiDict('Authorization': '{SECRET}', 'Host': 'x')>",
        f"(b'Authorization', b'Bearer {SECRET}')",
        f'"token": "{SECRET}"',
        f"refused Bearer {SECRET}",
        f"postgresql://wegit:{SECRET}@postgres:5432/wegit",
        f"ghp_{SECRET}",
        f"gho_{SECRET} ghs_{SECRET}",
        f"https://x-access-token:ghp_{SECRET}@github.com",
        f"github_pat_11AAAA_{SECRET}",
        f"TOKEN={SECRET}",
    ],
)
def test_secrets_are_replaced(text: str) -> None:
    clean = redact(text)
    assert SECRET not in clean
    assert REDACTED in clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        '{"event":"request.answered","path":"/v1/repositories/torvalds/linux","status":200}',
        "invalid token in the page",
        "the secret of ghosts",
        "tokens: 3 of 5",
        "http://repo-service:8080/health",
    ],
)
def test_other_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_what_stands_around_a_secret_is_kept() -> None:
    assert (
        redact(f"GET /developers?token={SECRET}&page=1 HTTP/1.1") == f"GET /developers?token={REDACTED}&page=1 HTTP/1.1"
    )
    assert redact(f'{{"a":"token={SECRET}","b":1}}') == f'{{"a":"token={REDACTED}","b":1}}'

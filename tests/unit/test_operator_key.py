"""The operator key: who gets in, and what a key may look like."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr, TypeAdapter, ValidationError

from notifier_service.operator_key import OperatorKey, add_operator_routes
from service_kit.app import create_app

KEY = "0123456789abcdef0123456789abcdef"


async def ask(key: str | None, headers: list[tuple[str, str]]) -> tuple[int, str | None]:
    app = create_app()

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="for operators")

    add_operator_routes(app, SecretStr(key) if key else None, [web.get("/v1/secret", answer)])
    async with TestClient(TestServer(app)) as client, client.get("/v1/secret", headers=headers) as response:
        return response.status, response.headers.get("WWW-Authenticate")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_who_bears_the_key_gets_in(scheme: str) -> None:
    assert await ask(KEY, [("Authorization", f"{scheme} {KEY}")]) == (200, None)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", f"Bearer {KEY}x")],
        [("Authorization", f"Bearer {KEY[:-1]}")],
        [("Authorization", KEY)],
        [("Authorization", f"Basic {KEY}")],
        [("Authorization", f"token {KEY}")],
        [("Authorization", "Bearer wrong"), ("Authorization", f"Bearer {KEY}")],
        [("Authorization", "Bearer \udcff")],
    ],
)
async def test_nobody_else_does(headers: list[tuple[str, str]]) -> None:
    assert await ask(KEY, headers) == (401, "Bearer")


async def test_without_a_key_there_are_no_such_routes() -> None:
    assert await ask(None, [("Authorization", "Bearer ")]) == (404, None)


@pytest.mark.parametrize(
    "key", ["short", "x" * 31, "a key that has spaces in it, if long enough", "ключ" * 10, "x" * 32 + "\n"]
)
def test_what_cannot_be_a_key_is_refused_at_the_start(key: str) -> None:
    with pytest.raises(ValidationError, match="at least 32 printable"):
        TypeAdapter(OperatorKey).validate_python(key)

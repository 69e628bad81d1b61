"""The operator key: the one place that decides who may use the routes for operators."""

import hashlib
import hmac
from typing import Annotated

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import AfterValidator, SecretStr

from service_kit.errors import Unauthorized


def _operator_key(value: SecretStr) -> SecretStr:
    key = value.get_secret_value()
    if len(key) < 32 or not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("should have at least 32 printable ASCII characters and no spaces")
    return value


OperatorKey = Annotated[SecretStr, AfterValidator(_operator_key)]
"""What callers of the routes for operators send as a bearer token (RFC 6750)."""


def add_operator_routes(app: web.Application, key: SecretStr | None, routes: list[web.RouteDef]) -> None:
    """Add routes that answer 401 unless the request bears the key; without a key there are no such routes (404)."""
    if key is None:
        return
    expected = _digest(key.get_secret_value())

    def guarded(handler: Handler) -> Handler:
        async def check_and_handle(request: web.Request) -> web.StreamResponse:
            scheme, _, offered = ",".join(request.headers.getall("Authorization", [])).partition(" ")
            # Digests are of one length: the time that the comparison takes tells nothing of the key.
            if scheme.lower() != "bearer" or not hmac.compare_digest(_digest(offered.strip()), expected):
                raise Unauthorized("The operator's key is needed: Authorization: Bearer OPERATOR_KEY.")
            return await handler(request)

        return check_and_handle

    app.add_routes(
        [web.RouteDef(route.method, route.path, guarded(route.handler), dict(route.kwargs)) for route in routes]
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()

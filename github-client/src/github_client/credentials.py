"""Credentials: a caller's own token, the operator's tokens and application, or none; never shown in a repr."""

import base64
import hmac
import os
from collections.abc import Sequence
from typing import Literal

from pydantic import SecretStr

from github_client.protocol import TOKEN
from service_kit.errors import Unauthorized

_OWN_KEY = os.urandom(32)


def identity_key(secret_key: SecretStr) -> bytes:
    """What the operator's credentials are told apart by, the same on every replica."""
    return hmac.digest(secret_key.get_secret_value().encode(), b"wegit credential identities", "sha256")


class Credential:
    """What goes into `Authorization`, and for whom. `name` and `identity` may be logged, the token may not."""

    __slots__ = ("_identity", "_key", "_scheme", "_token", "kind", "name")

    def __init__(
        self,
        kind: Literal["anonymous", "caller", "operator"],
        name: str,
        token: str = "",
        *,
        scheme: Literal["Bearer", "Basic"] = "Bearer",
        key: bytes = _OWN_KEY,
    ) -> None:
        """`key` is what the identity is made with; without one it means something in this process alone."""
        self.kind = kind
        self.name = name
        self._token = SecretStr(token)
        self._scheme = scheme
        self._key = key
        self._identity: str | None = None

    def __repr__(self) -> str:
        return f"Credential({self.kind!r}, {self.name!r})"

    @property
    def identity(self) -> str:
        """An HMAC of the token: the same for the same token and key, and of no use to anybody else."""
        if self._identity is None:
            token = self._token.get_secret_value().encode()
            self._identity = hmac.digest(self._key, token, "sha256").hex() if token else self.kind
        return self._identity

    def headers(self) -> dict[str, str]:
        """The `Authorization` header, or nothing for anonymous access."""
        token = self._token.get_secret_value()
        return {"Authorization": f"{self._scheme} {token}"} if token else {}


ANONYMOUS = Credential("anonymous", "anonymous")


def caller_credential(token: str) -> Credential:
    """A caller's token, of any kind GitHub has issued. Raises Unauthorized for what cannot be one."""
    if not TOKEN.fullmatch(token):
        raise Unauthorized("The token is not one that GitHub could have issued.")
    return Credential("caller", "caller", token)


def credential_in(authorization: str | None) -> Credential | None:
    """The caller's credential in an `Authorization` header: `Bearer T`, `token T`, or bare, as the first client does.

    None without one. Raises Unauthorized for another scheme.
    """
    words = (authorization or "").split()
    if not words:
        return None
    if len(words) == 1:
        return caller_credential(words[0])
    if len(words) == 2 and words[0].lower() in {"bearer", "token"}:
        return caller_credential(words[1])
    raise Unauthorized("Authorization should be: Bearer TOKEN.")


def application_credential(client_id: str, client_secret: SecretStr, key: bytes) -> Credential:
    """An OAuth application's id and secret: 5,000 requests an hour for what is public."""
    pair = f"{client_id}:{client_secret.get_secret_value()}"
    token = base64.b64encode(pair.encode()).decode()
    return Credential("operator", "GITHUB_CLIENT_ID", token, scheme="Basic", key=key)


class OperatorCredentials:
    """The operator's credentials, those of the settings and those that are stored."""

    def __init__(self, configured: Sequence[Credential]) -> None:
        self._configured = tuple(configured)
        self._stored: tuple[Credential, ...] = ()

    def replace_stored(self, stored: Sequence[Credential]) -> None:
        """Take the accounts as they are in the database now."""
        self._stored = tuple(stored)

    def all(self) -> tuple[Credential, ...]:
        """Every credential of the operator's; the anonymous one when there are none."""
        return self._configured + self._stored or (ANONYMOUS,)

"""The table `account`: the operator's stored GitHub credentials, encrypted with SECRET_KEY."""

import base64
from functools import cached_property
from typing import TYPE_CHECKING

import structlog
from pydantic import SecretStr

from github_client.credentials import Credential, identity_key
from service_kit.database import Database

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

log = structlog.get_logger()


class Accounts:
    """The table `account`. Tokens are Fernet-encrypted under a key derived from SECRET_KEY (HKDF-SHA256)."""

    def __init__(self, database: Database, secret_key: SecretStr) -> None:
        self._database = database
        self._secret_key = secret_key

    async def load(self) -> list[Credential]:
        """Every stored credential; one that SECRET_KEY does not open is logged and left out.

        Raises DatabaseUnavailable.
        """
        rows = await self._database.fetch_all("select name, encrypted_token from account order by name")
        if not rows:
            return []
        from cryptography.fernet import InvalidToken

        key = identity_key(self._secret_key)
        credentials = []
        for name, encrypted in rows:
            try:
                token = self._cipher.decrypt(bytes(encrypted)).decode()
            except InvalidToken:
                log.error("account.unreadable", account=name, hint="was it stored with another SECRET_KEY?")
                continue
            credentials.append(Credential("operator", f"account {name}", token, key=key))
        return credentials

    async def add(self, name: str, token: str) -> None:
        """Store a credential; one of the same name is replaced. Raises DatabaseUnavailable."""
        await self._database.execute(
            "insert into account (name, encrypted_token) values (%s, %s)"
            " on conflict (name) do update set encrypted_token = excluded.encrypted_token",
            (name, self._cipher.encrypt(token.encode())),
        )

    async def remove(self, name: str) -> bool:
        """Forget a credential; False if there was none of that name. Raises DatabaseUnavailable."""
        return await self._database.execute("delete from account where name = %s", (name,)) == 1

    @cached_property
    def _cipher(self) -> "Fernet":
        # Imported late: the library takes 7 MB, which only those who store accounts need to spend.
        from cryptography.fernet import Fernet
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derive = HKDF(SHA256(), 32, salt=None, info=b"wegit account tokens").derive
        return Fernet(base64.urlsafe_b64encode(derive(self._secret_key.get_secret_value().encode())))

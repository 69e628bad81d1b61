"""The table `account`: the operator's stored GitHub credentials, encrypted with SECRET_KEY."""

import structlog
from pydantic import SecretStr

from github_client.credentials import Credential, identity_key
from service_kit.database import Database
from service_kit.encryption import Encryption, Undecipherable

log = structlog.get_logger()


class Accounts:
    """The table `account`."""

    def __init__(self, database: Database, secret_key: SecretStr) -> None:
        self._database = database
        self._secret_key = secret_key
        self._encryption = Encryption(secret_key, "account tokens")

    async def load(self) -> list[Credential]:
        """Every stored credential; one that SECRET_KEY does not open is logged and left out.

        Raises DatabaseUnavailable.
        """
        rows = await self._database.fetch_all("select name, encrypted_token from account order by name")
        key = identity_key(self._secret_key)
        credentials = []
        for name, encrypted in rows:
            try:
                token = self._encryption.decrypt(encrypted)
            except Undecipherable:
                log.error("account.unreadable", account=name, hint="was it stored with another SECRET_KEY?")
                continue
            credentials.append(Credential("operator", f"account {name}", token, key=key))
        return credentials

    async def add(self, name: str, token: str) -> None:
        """Store a credential; one of the same name is replaced. Raises DatabaseUnavailable."""
        await self._database.execute(
            "insert into account (name, encrypted_token) values (%s, %s)"
            " on conflict (name) do update set encrypted_token = excluded.encrypted_token",
            (name, self._encryption.encrypt(token)),
        )

    async def remove(self, name: str) -> bool:
        """Forget a credential; False if there was none of that name. Raises DatabaseUnavailable."""
        return await self._database.execute("delete from account where name = %s", (name,)) == 1

"""Accounts: the operator's stored GitHub credentials, encrypted with SECRET_KEY, and the command that keeps them."""

import asyncio
import base64
import sys
from collections.abc import Coroutine
from typing import Annotated, Any

import structlog
import typer
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from github_client.credentials import Credential
from github_client.protocol import TOKEN
from service_kit.database import Database
from service_kit.errors import ServiceError
from service_kit.settings import PostgresUrl, SecretKey, load_settings

log = structlog.get_logger()


class Accounts:
    """The table `account`. Tokens are Fernet-encrypted under a key derived from SECRET_KEY (HKDF-SHA256)."""

    def __init__(self, database: Database, secret_key: SecretStr) -> None:
        key = HKDF(SHA256(), 32, salt=None, info=b"wegit account tokens").derive(secret_key.get_secret_value().encode())
        self._cipher = Fernet(base64.urlsafe_b64encode(key))
        self._database = database

    async def load(self) -> list[Credential]:
        """Every stored credential; one that SECRET_KEY does not open is logged and left out.

        Raises DatabaseUnavailable.
        """
        credentials = []
        for name, encrypted in await self._database.fetch_all(
            "select name, encrypted_token from account order by name"
        ):
            try:
                token = self._cipher.decrypt(bytes(encrypted)).decode()
            except InvalidToken:
                log.error("account.unreadable", account=name, hint="was it stored with another SECRET_KEY?")
                continue
            credentials.append(Credential("operator", f"account {name}", token))
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


class AccountSettings(BaseSettings):
    """What the command needs of the environment."""

    database_url: PostgresUrl
    secret_key: SecretKey


cli = typer.Typer(help="The operator's stored GitHub credentials, used like GITHUB_TOKENS.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="How the account is called in logs.")]


@cli.command()
def add(name: Name) -> None:
    """Store a token, read from standard input, so that it stays out of the shell's history."""
    typed = typer.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    token = str(typed).strip()
    if not TOKEN.fullmatch(token):
        raise SystemExit("accounts: standard input holds no token that GitHub could have issued")
    _with_accounts(lambda accounts: accounts.add(name, token))
    typer.echo(f"stored {name}; running services use it within a minute")


@cli.command("list")
def list_() -> None:
    """Name the stored accounts; tokens are never shown."""
    for credential in _with_accounts(lambda accounts: accounts.load()):
        typer.echo(credential.name.removeprefix("account "))


@cli.command()
def remove(name: Name) -> None:
    """Forget an account."""
    if not _with_accounts(lambda accounts: accounts.remove(name)):
        raise SystemExit(f"accounts: there is no account {name}")
    typer.echo(f"removed {name}")


def _with_accounts(work: Any) -> Any:
    settings = load_settings(AccountSettings)

    async def run() -> Any:
        database = Database(settings.database_url, "accounts")
        await database.open()
        try:
            task: Coroutine[Any, Any, Any] = work(Accounts(database, settings.secret_key))
            return await task
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except ServiceError as error:
        raise SystemExit(f"accounts: {error.detail}") from None


if __name__ == "__main__":
    cli()

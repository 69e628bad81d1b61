"""The command that keeps the operator's stored GitHub credentials: python -m github_client.accounts."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Annotated, Any

import typer
from pydantic_settings import BaseSettings

from github_client.account_store import Accounts
from github_client.protocol import TOKEN
from service_kit.database import Database
from service_kit.errors import ServiceError
from service_kit.settings import PostgresUrl, SecretKey, load_settings


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

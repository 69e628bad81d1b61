"""Stored credentials: the command as an operator runs it, the encrypted table, and what services make of it."""

import os
import subprocess
import sys
from contextlib import closing

import psycopg2
import pytest
import structlog
from pydantic import SecretStr

from github_client.account_store import Accounts
from service_kit.database import Database

TOKEN = "ghp_StoredStoredStoredStoredStoredStored"
KEY = "a secret key that is long enough to be one"


def command(database_url: str, *arguments: str, typed: str = "", key: str = KEY) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": database_url, "SECRET_KEY": key}
    line = [sys.executable, "-m", "github_client.accounts", *arguments]
    return subprocess.run(line, input=typed, env=environment, capture_output=True, text=True, timeout=60, check=False)


async def load(database_url: str, key: str = KEY) -> dict[str, str]:
    database = Database(SecretStr(database_url), "test")
    await database.open()
    try:
        credentials = await Accounts(database, SecretStr(key)).load()
        return {one.name: one.headers()["Authorization"] for one in credentials}
    finally:
        await database.close()


async def test_a_stored_token_is_used_and_cannot_be_read_in_the_table(database_url: str) -> None:
    added = command(database_url, "add", "first", typed=f"{TOKEN}\n")
    assert (added.returncode, TOKEN in added.stdout + added.stderr) == (0, False)
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("select name, encrypted_token from account")
        [(name, encrypted)] = cursor.fetchall()
    assert name == "first"
    assert TOKEN.encode() not in bytes(encrypted)
    assert await load(database_url) == {"account first": f"Bearer {TOKEN}"}


async def test_adding_again_replaces_and_removing_forgets(database_url: str) -> None:
    command(database_url, "add", "first", typed=TOKEN)
    command(database_url, "add", "first", typed=f"{TOKEN[:-1]}X")
    assert command(database_url, "list").stdout == "first\n"
    assert await load(database_url) == {"account first": f"Bearer {TOKEN[:-1]}X"}
    assert command(database_url, "remove", "first").returncode == 0
    assert await load(database_url) == {}
    again = command(database_url, "remove", "first")
    assert (again.returncode, again.stderr.splitlines()[-1]) == (1, "accounts: there is no account first")


async def test_another_key_leaves_the_account_out_and_says_so(database_url: str) -> None:
    command(database_url, "add", "first", typed=TOKEN)
    with structlog.testing.capture_logs() as events:
        assert await load(database_url, "another secret key that is long enough") == {}
    assert [(event["event"], event["account"]) for event in events] == [("account.unreadable", "first")]


@pytest.mark.parametrize("typed", ["", "\n", "two words\n", "x" * 256])
def test_what_cannot_be_a_token_is_not_stored(database_url: str, typed: str) -> None:
    added = command(database_url, "add", "first", typed=typed)
    assert added.returncode == 1
    assert added.stderr.startswith("accounts: standard input holds no token")
    assert command(database_url, "list").stdout == ""


def test_without_a_database_the_command_says_so_in_one_line() -> None:
    done = command("postgresql://nobody@127.0.0.1:1/nothing", "list")
    assert (done.returncode, done.stderr) == (1, "accounts: The database cannot be reached.\n")


def test_a_missing_setting_is_named() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "SECRET_KEY"}}
    line = [sys.executable, "-m", "github_client.accounts", "list"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "settings: DATABASE_URL: missing; SECRET_KEY: missing\n")

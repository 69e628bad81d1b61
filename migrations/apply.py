"""Applies the migrations beside it to DATABASE_URL: any number of starters at once, and after one that was killed."""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import default_migration_table

FOLDER = Path(__file__).parent
WAIT_SECONDS = 60.0
"""How long Postgres may take to accept connections: a first start of its container writes a whole cluster."""
LOCK_WAIT_SECONDS = 600.0
"""How long another starter's migrations may take."""
PROGRESS_INTERVAL_SECONDS = 2.0
ADVISORY_LOCK = 0x5765476974  # "WeGit" in ASCII: any number does that nobody else in this database takes.

# What a server that will soon be there answers. All else that it calls FATAL stays so: a password, an unknown name.
_TEMPORARY = re.compile(r"starting up|shutting down|recovery|not yet accepting|too many (?:clients|connections)")

Say = Callable[[str], None]


class MigrationError(Exception):
    """The database could not be brought to the wanted state; the text is one line without the password."""


def apply_migrations(
    database_url: str, *, wait_seconds: float = WAIT_SECONDS, say: Say = lambda _line: None
) -> list[str]:
    """Apply what is missing, in order, and return the names of what was applied by this call.

    `database_url` is any libpq URL (TCP or Unix socket); `say` gets progress lines. Raises MigrationError.
    """
    with _migrating(database_url, wait_seconds, say) as backend:
        missing = list(backend.to_apply(_migrations()))
        for number, migration in enumerate(missing, 1):
            say(f"applying {migration.id} ({number} of {len(missing)})")
            _move(backend, migration, "apply")
        return [migration.id for migration in missing]


def roll_back_last(
    database_url: str, *, wait_seconds: float = WAIT_SECONDS, say: Say = lambda _line: None
) -> str | None:
    """Undo the newest applied migration and return its name; None when there is none. Raises MigrationError."""
    with _migrating(database_url, wait_seconds, say) as backend:
        applied = list(backend.to_rollback(_migrations()))
        if not applied:
            return None
        say(f"rolling back {applied[0].id}")
        _move(backend, applied[0], "rollback")
        return str(applied[0].id)


def list_migrations(
    database_url: str, *, wait_seconds: float = WAIT_SECONDS, say: Say = lambda _line: None
) -> dict[str, bool]:
    """Each migration's name, in order, and whether it is applied. Raises MigrationError."""
    with _migrating(database_url, wait_seconds, say) as backend:
        missing = {migration.id for migration in backend.to_apply(_migrations())}
        return {migration.id: migration.id not in missing for migration in _migrations()}


def _migrations() -> Any:
    return read_migrations(str(FOLDER)).filter(lambda migration: migration.is_raw_sql())


def _move(backend: PostgresqlBackend, migration: Any, direction: str) -> None:
    """Run a migration and note it in one transaction.

    yoyo uses two: a kill between them leaves the migration done but not noted, and no later start gets past it.
    Its log of who ran it is left out: that fails for a user without a name, as containers have, and asks the DNS.
    """
    migration.load()
    if not migration.use_transactions:
        (backend.apply_one if direction == "apply" else backend.rollback_one)(migration)
        return
    with backend.transaction():
        migration.process_steps(backend, direction)
        (backend.mark_one if direction == "apply" else backend.unmark_one)(migration, log=False)


@contextmanager
def _migrating(database_url: str, wait_seconds: float, say: Say) -> Iterator[PostgresqlBackend]:
    """yoyo's backend, with nobody else migrating this database.

    yoyo's own lock is a row that a killed starter leaves for ever. The advisory lock goes with its connection, so
    whoever has it may break yoyo's.
    """
    try:
        parameters = {"connect_timeout": "5", "application_name": "migrations", **_parse(database_url)}
        with closing(_connect(parameters, wait_seconds, say)) as guard:
            guard.autocommit = True
            _take_advisory_lock(guard, say)
            user, password = parameters.pop("user", None), parameters.pop("password", None)
            # Not by yoyo's own parser: it does not know all of libpq's forms, such as an encoded socket folder.
            uri = DatabaseURI("postgresql", user, password, None, None, parameters.pop("dbname", None), parameters)
            with PostgresqlBackend(uri, default_migration_table) as backend:
                backend.init_database()
                backend.break_lock()
                with backend.lock():
                    backend.ensure_internal_schema_updated()
                    yield backend
    except psycopg2.Error as error:
        raise MigrationError(_one_line(error)) from error


def _parse(database_url: str) -> dict[str, str]:
    """libpq's parameters of a URL. The complaint about a wrong one quotes none of it: its password may be anywhere."""
    try:
        parameters = parse_dsn(database_url) if database_url.startswith(("postgresql://", "postgres://")) else {}
    except psycopg2.ProgrammingError:
        parameters = {}
    if not parameters or not parameters.get("port", "0").replace(",", "").isdigit():
        raise MigrationError("DATABASE_URL: should be a postgresql:// URL") from None
    return parameters


def _connect(parameters: dict[str, str], wait_seconds: float, say: Say) -> Any:
    """Connect once Postgres takes connections; give up after `wait_seconds`, or at a refusal that will not pass."""
    deadline = time.monotonic() + wait_seconds
    next_progress = 0.0
    while True:
        try:
            return psycopg2.connect(**parameters)
        except psycopg2.OperationalError as error:
            is_final = "FATAL" in str(error) and not _TEMPORARY.search(str(error))
            now = time.monotonic()
            if is_final or now >= deadline:
                raise
            if now >= next_progress:
                say(f"waiting for Postgres, {deadline - now:.0f} s left: {_one_line(error)}")
                next_progress = now + PROGRESS_INTERVAL_SECONDS
            time.sleep(0.2)


def _take_advisory_lock(guard: Any, say: Say) -> None:
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    next_progress = time.monotonic() + PROGRESS_INTERVAL_SECONDS
    with guard.cursor() as cursor:
        while True:
            cursor.execute("select pg_try_advisory_lock(%s)", (ADVISORY_LOCK,))
            if cursor.fetchone()[0]:
                return
            now = time.monotonic()
            if now >= deadline:
                raise MigrationError(f"another starter has been migrating for {LOCK_WAIT_SECONDS:.0f} s")
            if now >= next_progress:
                say("another starter is migrating; waiting for it")
                next_progress = now + PROGRESS_INTERVAL_SECONDS
            time.sleep(0.1)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def main() -> None:
    """The command line; exits with 1 and one line on standard error when something is wrong."""
    parser = argparse.ArgumentParser(description="Bring the database that DATABASE_URL names to the newest structure.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--rollback", action="store_true", help="undo the newest applied migration instead")
    choice.add_argument("--list", action="store_true", help="show each migration and whether it is applied")
    arguments = parser.parse_args()
    database_url = os.environ.get("DATABASE_URL")
    if not database_url:
        sys.exit("migrations: DATABASE_URL: missing")

    def say(line: str) -> None:
        print(f"migrations: {line}", file=sys.stderr, flush=True)  # noqa: T201 - this is its output

    try:
        if arguments.list:
            for name, is_applied in list_migrations(database_url, say=say).items():
                print(f"{'applied' if is_applied else 'missing':8} {name}")  # noqa: T201
        elif arguments.rollback:
            say("nothing to roll back" if roll_back_last(database_url, say=say) is None else "done")
        else:
            count = len(apply_migrations(database_url, say=say))
            say(f"{count} applied" if count else "nothing to do: the database is up to date")
    except MigrationError as error:
        sys.exit(f"migrations: {error}")


if __name__ == "__main__":
    main()

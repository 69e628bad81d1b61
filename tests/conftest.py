"""A real Postgres for the tests that want one: shared and cloned for speed, or one's own to stop and kill."""

import itertools
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest

from migrations.apply import apply_migrations
from tests.throwaway_postgres import ThrowawayPostgres

TEMPLATE = "migrated"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of an empty database in a cluster that lives as long as the tests; its role is a superuser."""
    with ThrowawayPostgres() as running:
        yield running.url


@pytest.fixture(scope="session")
def migrated_template(postgres: str) -> str:
    """The name of a database with all migrations applied, to be cloned; nobody may be connected to it."""
    _run(postgres, f"create database {TEMPLATE}")
    apply_migrations(_with_database(postgres, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(postgres: str, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated database of the test's own."""
    name = f"test_{next(_numbers)}"
    _run(postgres, f"create database {name} template {migrated_template}")
    yield _with_database(postgres, name)
    _run(postgres, f"drop database {name} with (force)")


@pytest.fixture
def own_postgres() -> Iterator[ThrowawayPostgres]:
    """A migrated Postgres of the test's own: `.url`, and `.stop()`, `.kill()`, `.start()`."""
    with ThrowawayPostgres() as running:
        apply_migrations(running.url)
        yield running


def _with_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def _run(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)

"""A real Postgres for the tests that want one: shared and cloned for speed, or one's own to stop and kill."""

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest

from local.imitation_github.credentials import OWNER_TOKEN, READER_TOKEN
from migrations.apply import apply_migrations
from tests.throwaway_postgres import ThrowawayPostgres
from tests.whole_system import SECRET_KEY, WholeSystem

TEMPLATE = "migrated"


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `make chaos` asks of the fault tests."""
    group = parser.getgroup("chaos", "the notifier's fault tests, for longer than in CI")
    group.addoption("--chaos-rounds", type=int, default=1, help="how often, and how much (default: %(default)s)")
    group.addoption("--chaos-seconds", type=float, default=4.0, help="how long each strikes (default: %(default)s)")


@pytest.fixture
def chaos_rounds(pytestconfig: pytest.Config) -> int:
    """By how much a fault test is to be larger than in CI."""
    rounds: int = pytestconfig.getoption("--chaos-rounds")
    return rounds


@pytest.fixture
def chaos_seconds(pytestconfig: pytest.Config) -> float:
    """For how long a fault test strikes."""
    seconds: float = pytestconfig.getoption("--chaos-seconds")
    return seconds


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Another one each time; what it was is told when the test fails."""
    seed = random.randrange(2**32)
    print(f"seed of {request.node.name}: {seed}")
    return random.Random(seed)


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


@pytest.fixture(scope="session")
def whole_system(
    postgres: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WholeSystem]:
    """Everything at once, started as `make run` does, with an operator's token; it asks an imitation GitHub."""
    name = "whole_system"
    _run(postgres, f"create database {name} template {migrated_template}")
    url = _with_database(postgres, name)
    subprocess.run(
        [sys.executable, "-m", "github_client.accounts", "add", "owner"],
        input=OWNER_TOKEN.encode(),
        env={**os.environ, "DATABASE_URL": url, "SECRET_KEY": SECRET_KEY},
        check=True,
    )
    system = WholeSystem(url, tmp_path_factory.mktemp(name), {"GITHUB_TOKENS": READER_TOKEN})
    yield system
    system.heal()
    leaked = system.what_leaked()
    status = system.stop()
    assert status == 0, system.log[-4000:]
    assert leaked == []


@pytest.fixture
def wegit(whole_system: WholeSystem) -> Iterator[WholeSystem]:
    """The whole system, with a GitHub that is well and a new ledger."""
    whole_system.heal()
    whole_system.forget_requests()
    yield whole_system
    whole_system.heal()

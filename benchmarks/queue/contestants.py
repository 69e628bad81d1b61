"""The queues that take part: how each is installed and run, as a process that says in JSON what it took."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import psycopg2

from benchmarks.system import NotReady
from benchmarks.table import say

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ENVIRONMENT = ROOT / ".venv-queue"
"""The peers' own, for Python and Node, so that nobody else has them installed."""
NODE_FOLDER = ENVIRONMENT / "node"
LIMIT_SECONDS = 300.0
OURS, PGQUEUER, PROCRASTINATE, GRAPHILE = "ours", "pgqueuer", "procrastinate", "graphile-worker"


@dataclass(frozen=True)
class Contestant:
    """One queue in a database of its own."""

    name: str
    command: tuple[str, ...]
    database_url: str

    async def run(self, action: str, *arguments: int) -> dict[str, Any]:
        """What the process says of what it did; empty for nothing. Raises NotReady when it fails or hangs."""
        process = await asyncio.create_subprocess_exec(
            *self.command, action, *map(str, arguments), cwd=ROOT, env=self._settings(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                output, errors = await process.communicate()
        except TimeoutError:
            raise NotReady(f"{self.name}: {action}: not done after {LIMIT_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise NotReady(f"{self.name}: {action}: {errors.decode(errors='replace')[-1500:]}")
        return json.loads(output) if output.strip() else {}

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, each by itself; the rows of the last."""
        connection = psycopg2.connect(self.database_url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def _settings(self) -> dict[str, str]:
        parts = urlsplit(self.database_url)
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        return {
            **kept,
            "DATABASE_URL": self.database_url,
            "PGHOST": parse_qs(parts.query)["host"][0],
            "PGUSER": parts.username or "",
            "PGDATABASE": parts.path.removeprefix("/"),
            "PEERS_FOLDER": str(NODE_FOLDER),
        }


async def find_contestants(url: str) -> tuple[dict[str, Contestant], list[str]]:
    """Ours, in the migrated database at `url`, the peers that could be installed, and a line for each that is not."""
    found = {OURS: Contestant(OURS, (sys.executable, "-m", "benchmarks.queue.ours"), url)}
    missing = []
    if _is_installed(HERE / "requirements.txt", ENVIRONMENT, _install_python):
        python = str(ENVIRONMENT / "bin" / "python")
        for name in (PGQUEUER, PROCRASTINATE):
            found[name] = Contestant(name, (python, str(HERE / "peers" / f"{name}_peer.py")), _beside(url, name))
    else:
        missing.append("pgqueuer and procrastinate could not be installed: left out\n")
    if shutil.which("node") and _is_installed(HERE / "package.json", NODE_FOLDER, _install_node):
        found[GRAPHILE] = Contestant(GRAPHILE, ("node", str(HERE / "peers" / "graphile.mjs")), _beside(url, "graphile"))
    else:
        missing.append("graphile-worker needs Node.js and npm: left out\n")
    for contestant in found.values():
        if contestant.name != OURS:
            found[OURS].sql(f"create database {urlsplit(contestant.database_url).path.removeprefix('/')}")
            await contestant.run("install")
    return found, missing


def _beside(url: str, database: str) -> str:
    """The same cluster, so that all have the same disk and settings."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _is_installed(wanted: Path, folder: Path, install: list[list[str]]) -> bool:
    stamp = folder / f"{wanted.name}.done"
    if stamp.exists() and stamp.read_bytes() == wanted.read_bytes():
        return True
    say(f"queue: installing {wanted.name} in {folder.relative_to(ROOT)}")
    folder.mkdir(parents=True, exist_ok=True)
    if wanted.suffix == ".json":
        shutil.copy(wanted, folder)
    try:
        for command in install:
            subprocess.run(command, cwd=folder, stdout=sys.stderr, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    shutil.copy(wanted, stamp)
    return True


_install_python = [
    [sys.executable, "-m", "venv", str(ENVIRONMENT)],
    [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "-q", "-r", str(HERE / "requirements.txt")],
]
_install_node = [["npm", "install", "--no-audit", "--no-fund", "--silent"]]

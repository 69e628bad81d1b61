"""WeGit as `make run` starts it, or parts of it, each process known by its id, on a database that is thrown away."""

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from local import stack
from local.embedded_postgres import EmbeddedPostgres
from local.imitation_github.credentials import READER_TOKEN
from local.supervisor import Process
from local.watchdog import Watchdog

PROBE_INTERVAL_SECONDS = 0.01
START_SECONDS = 60.0
NOWHERE = f"http://{stack.LOOPBACK}:9"
"""GitHub's address here: the port of the discard service, which nobody runs. No request measured here goes there."""


class NotReady(Exception):
    """A process ended, or was not ready in time; the text has the end of what all have said."""


@dataclass
class RunningSystem:
    """What runs, and how long each process took from its start to its readiness (migrations: to their end)."""

    ready_seconds: dict[str, float] = field(default_factory=dict)
    whole_seconds: float = 0.0
    process_ids: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Replicas:
    """Where each repo-service and the imitation of GitHub listen, and what runs, by name (`repo-service 1`)."""

    urls: list[str]
    github_url: str
    database_url: str
    process_ids: dict[str, int]


class Ground:
    """A database cluster and a log in a temporary folder, on which the system can be started again and again."""

    def __enter__(self) -> "Ground":
        self._folder = tempfile.TemporaryDirectory(prefix="wegit-")
        self._watchdog = Watchdog().__enter__()
        self._cluster = EmbeddedPostgres(Path(self._folder.name))  # durable, as with `make run`
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watchdog.__exit__(kind, error, traceback)
        self._cluster.release()
        self._folder.cleanup()

    @asynccontextmanager
    async def running_system(self) -> AsyncIterator[RunningSystem]:
        """Start in the order of `make run`, stop in the reverse one; no GitHub. Raises NotReady, PostgresError."""
        (gateway_port,) = stack.free_ports(1)
        inner = stack.wegit({**_settings(NOWHERE), "GATEWAY_PORT": str(gateway_port)}, self._cluster.url)
        async with self.running(inner, RunningSystem()) as system:
            yield system

    @asynccontextmanager
    async def running_replicas(self, count: int, beside: Sequence[Process] = ()) -> AsyncIterator["Replicas"]:
        """Several repo-services on one database, with an operator's token for one imitation of GitHub.

        Processes `beside` them start with them. Raises NotReady, PostgresError.
        """
        (github_port,) = stack.free_ports(1)
        settings = _settings(f"http://{stack.LOOPBACK}:{github_port}")
        github = stack.imitation_github(settings, github_port)
        # Collecting disturbs what is measured: as little of it as can be set.
        told = {**settings, "GITHUB_TOKENS": READER_TOKEN, "GATEWAY_PORT": "9", "TRENDING_INTERVAL_SECONDS": "60"}
        migrations, *_ = stack.wegit(told, self._cluster.url)
        made = [stack.wegit(told, self._cluster.url) for _ in range(count)]  # each with free ports of its own
        services = [next(process for process in inner if process.name == "repo-service") for _, inner, _ in made]
        named = [replace(process, name=f"{process.name} {place}") for place, process in enumerate(services, 1)]
        async with self.running([migrations, [github, *named, *beside]], RunningSystem()) as running:
            urls = [_url(process) for process in named]
            yield Replicas(urls, _url_of_port(github_port), self._cluster.url, running.process_ids)

    @asynccontextmanager
    async def running_postgres(self) -> AsyncIterator[str]:
        """Postgres alone, migrated; its URL. Raises NotReady, PostgresError."""
        migrations = stack.wegit({**_settings(NOWHERE), "GATEWAY_PORT": "9"}, self._cluster.url)[0]
        async with self.running([migrations], RunningSystem()):
            yield self._cluster.url

    @asynccontextmanager
    async def running(self, stages: Sequence[Sequence[Process]], system: RunningSystem) -> AsyncIterator[RunningSystem]:
        """Postgres and, after it, one stage after another; what happens is noted in `system`."""
        children: list[tuple[Process, subprocess.Popen[bytes]]] = []
        started = time.perf_counter()
        try:
            launch = self._cluster.prepare()  # not in a thread, which a stop signal would leave behind
            for stage in [[stack.postgres(launch, self._cluster.url)], *stages]:
                await asyncio.gather(*(self._start(process, system, children) for process in stage))
            system.whole_seconds = time.perf_counter() - started
            yield system
        finally:
            for process, child in reversed(children):
                await self._stop(process, child)
            self._cluster.release()

    async def _start(
        self, process: Process, system: RunningSystem, children: list[tuple[Process, subprocess.Popen[bytes]]]
    ) -> None:
        started = time.perf_counter()
        child = self._spawn(process)
        children.append((process, child))
        self._watchdog.watch(child.pid)
        system.process_ids[process.name] = child.pid
        if process.is_ready is None:
            if await asyncio.to_thread(child.wait) != 0:
                raise NotReady(f"{process.name} failed\n{self._log_end()}")
            del system.process_ids[process.name]
        else:
            while not await process.is_ready():
                if child.poll() is not None or time.perf_counter() - started > START_SECONDS:
                    raise NotReady(f"{process.name} is not ready\n{self._log_end()}")
                await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        system.ready_seconds[process.name] = time.perf_counter() - started

    def _spawn(self, process: Process) -> subprocess.Popen[bytes]:
        # Not asyncio's way: uvloop starts nothing as another user, as Postgres is by root.
        with self._log_path.open("ab") as log:
            return subprocess.Popen(
                process.command,
                env=dict(process.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **process.options,
            )

    async def _stop(self, process: Process, child: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            child.send_signal(process.stop_signal)
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(child.wait, process.grace_seconds)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # what is left of it, usually nothing
        await asyncio.to_thread(child.wait)
        self._watchdog.forget(child.pid)

    @property
    def _log_path(self) -> Path:
        return Path(self._folder.name) / "log"

    def _log_end(self) -> str:
        return self._log_path.read_text(errors="replace")[-2000:]


def _settings(github_url: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}},
        "GITHUB_API_URL": github_url,
        "GITHUB_WEB_URL": github_url,
        "SECRET_KEY": "thrown away with the database it belongs to",
        "LOG_FORMAT": "json",
    }


def _url(process: Process) -> str:
    return _url_of_port(int(process.environment["PORT"]))


def _url_of_port(port: int) -> str:
    return f"http://{stack.LOOPBACK}:{port}"

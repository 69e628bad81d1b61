"""WeGit as `make run` starts it, each process known by its id, with a database that is thrown away and no GitHub."""

import asyncio
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from local import stack
from local.embedded_postgres import EmbeddedPostgres
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

    gateway_url: str
    repo_service_url: str
    ready_seconds: dict[str, float] = field(default_factory=dict)
    whole_seconds: float = 0.0
    process_ids: dict[str, int] = field(default_factory=dict)


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
        """Start in the order of `make run`, stop in the reverse one. Raises NotReady, PostgresError."""
        (gateway_port,) = stack.free_ports(1)
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        settings = {
            **kept,
            "GATEWAY_PORT": str(gateway_port),
            "GITHUB_API_URL": NOWHERE,
            "GITHUB_WEB_URL": NOWHERE,
            "SECRET_KEY": "thrown away with the database it belongs to",
            "LOG_FORMAT": "json",
        }
        inner = stack.wegit(settings, self._cluster.url)
        services = {process.name: process for stage in inner for process in stage}
        repo_port = services["repo-service"].environment["PORT"]
        system = RunningSystem(f"http://{stack.LOOPBACK}:{gateway_port}", f"http://{stack.LOOPBACK}:{repo_port}")
        children: list[tuple[Process, subprocess.Popen[bytes]]] = []
        started = time.perf_counter()
        try:
            launch = self._cluster.prepare()  # not in a thread, which a stop signal would leave behind
            for stage in [[stack.postgres(launch, self._cluster.url)], *inner]:
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

"""Runs a list of processes as one: ordered start, readiness, one log, restart after a crash, ordered stop."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, STDOUT
from asyncio.subprocess import Process as Child
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from local.watchdog import Watchdog

START_SECONDS = 60.0
"""How long a process may take to become ready."""
PROBE_INTERVAL_SECONDS = 0.05
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""After having run this long a crash counts as the first again."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST_LINE_BYTES = 65536
COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92")


@dataclass(frozen=True)
class Process:
    """What is run. `is_ready` is asked until it says yes; without one the process is a task that has to end with 0.

    `options` are subprocess.Popen's. `hurry_signal` is what a second Ctrl-C sends.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], Awaitable[bool]] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    hurry_signal: signal.Signals = signal.SIGKILL
    grace_seconds: float = 25.0
    options: Mapping[str, Any] = field(default_factory=dict)


class StartFailed(Exception):
    """A process ended or stayed silent before all were ready; the text says which and how."""


class Supervisor:
    """Runs stages, each a list of processes that start together once those of the stage before it are ready."""

    def __init__(self, stages: Sequence[Sequence[Process]], write: Callable[[str], None] | None = None) -> None:
        self._stages = stages
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._last_line: dict[str, str] = {}
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()
        names = ["wegit", *(process.name for stage in stages for process in stage)]
        self._prefixes = _prefixes(names, is_coloured=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
        self._write = write or self._print

    async def run(self, announcement: str) -> None:
        """Start everything, write the announcement, and return when all has been stopped after a stop signal.

        Raises StartFailed, also then with nothing left running.
        """
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop)
        with Watchdog() as self._watchdog:
            starting = asyncio.create_task(self._start(announcement))
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                await stopping
            finally:
                self._stopping.set()  # from here on a stop signal hurries
                starting.cancel()
                await asyncio.wait({starting, stopping})
                self.say("stopping")
                for stage in reversed(self._stages):
                    await asyncio.gather(*(self._end(process) for process in stage))
                self.say("stopped")

    def say(self, line: str) -> None:
        """Write a line of our own among those of the processes."""
        self._write(f"{self._prefixes['wegit']}{line}")

    def _stop(self) -> None:
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    async def _start(self, announcement: str) -> None:
        for stage in self._stages:
            ready = []
            for process in stage:
                signs: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._tasks[process.name] = asyncio.create_task(self._keep(process, signs))
                ready.append(signs)
            await asyncio.gather(*ready)
        self.say(announcement)

    async def _keep(self, process: Process, ready: asyncio.Future[None]) -> None:
        """Run a process, again after each crash, until cancelled; tell `ready` how the first start went."""
        backoff_seconds = FIRST_BACKOFF_SECONDS
        while True:
            started_at = time.monotonic()
            try:
                status = await self._run(process, ready)
            except OSError as error:
                status = f"could not be run: {error.strerror}"
            if not ready.done():
                if process.is_ready is None and status == "ended with status 0":
                    return ready.set_result(None)
                last_line = self._last_line.get(process.name)
                ready.set_exception(StartFailed(f"{process.name} {status}" + (f": {last_line}" if last_line else "")))
            if ready.cancelled() or ready.exception():
                return None
            if time.monotonic() - started_at > STEADY_SECONDS:
                backoff_seconds = FIRST_BACKOFF_SECONDS
            self.say(f"{process.name} {status}; starting it again in {backoff_seconds:g} s")
            await asyncio.sleep(backoff_seconds)
            backoff_seconds = min(backoff_seconds * 2, LONGEST_BACKOFF_SECONDS)

    async def _run(self, process: Process, ready: asyncio.Future[None]) -> str:
        """Run a process once and say how it ended; when cancelled, stop it."""
        output, child_output = os.pipe()
        try:
            child = await asyncio.create_subprocess_exec(
                *process.command,
                env=dict(process.environment),
                stdin=DEVNULL,
                stdout=child_output,
                stderr=STDOUT,
                start_new_session=True,
                **process.options,
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(child_output)
        self._watchdog.watch(child.pid)
        beside = [asyncio.create_task(self._stream(process, output))]
        if process.is_ready and not ready.done():
            beside.append(asyncio.create_task(self._await_ready(process, ready)))
        try:
            status = await child.wait()
        except asyncio.CancelledError:
            await self._ask_to_stop(child, process)
            raise
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)  # what it may have left behind; by now usually nothing
            self._watchdog.forget(child.pid)
            # The last lines are read; a grandchild in a session of its own may hold the pipe open.
            await asyncio.wait(beside[:1], timeout=1)
            for task in beside:
                task.cancel()
        return f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"

    async def _ask_to_stop(self, child: Child, process: Process) -> None:
        """Return when the process has ended, or has had its time."""
        waits = [asyncio.create_task(child.wait()), asyncio.create_task(self._hurrying.wait())]
        if not self._hurrying.is_set():
            _signal(child, process.stop_signal)
            await asyncio.wait(waits, timeout=process.grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        if not waits[0].done():
            self.say(f"{process.name} has not stopped yet: it gets {process.hurry_signal.name}")
            _signal(child, process.hurry_signal)
            await asyncio.wait(waits[:1], timeout=5)
        waits[1].cancel()

    async def _await_ready(self, process: Process, ready: asyncio.Future[None]) -> None:
        assert process.is_ready is not None
        deadline = time.monotonic() + START_SECONDS
        while not ready.done():
            is_ready = await process.is_ready()
            if ready.done():
                return
            if is_ready:
                ready.set_result(None)
            elif time.monotonic() > deadline:
                ready.set_exception(StartFailed(f"{process.name} was not ready after {START_SECONDS:g} s"))
            else:
                await asyncio.sleep(PROBE_INTERVAL_SECONDS)

    async def _stream(self, process: Process, output: int) -> None:
        async for line in _lines(output):
            self._last_line[process.name] = line
            self._write(f"{self._prefixes[process.name]}{line}")

    async def _end(self, process: Process) -> None:
        if task := self._tasks.get(process.name):
            task.cancel()
            await asyncio.wait({task})

    def _print(self, line: str) -> None:
        try:
            print(line, flush=True)
        except OSError:  # the terminal or the pipe's reader is gone, and with it whoever wanted this
            self._stopping.set()


def _prefixes(names: Sequence[str], *, is_coloured: bool) -> dict[str, str]:
    width = max(len(name) for name in names)
    if not is_coloured:
        return {name: f"{name:{width}} | " for name in names}
    return {name: f"\033[{COLOURS[i % len(COLOURS)]}m{name:{width}} |\033[0m " for i, name in enumerate(names)}


def _signal(child: Child, number: signal.Signals) -> None:
    # To the process alone, which knows its children; the group is killed when it has ended.
    with suppress(ProcessLookupError):
        child.send_signal(number)


async def _lines(output: int) -> AsyncIterator[str]:
    """The lines that come out of a file descriptor, to its end; too long ones in pieces."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", buffering=0)
    )
    try:
        rest = b""
        while block := await reader.read(LONGEST_LINE_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            if len(rest) > LONGEST_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                yield line.decode("utf-8", "replace").rstrip("\r")
        if rest:
            yield rest.decode("utf-8", "replace")
    finally:
        transport.close()

"""Ends process groups when the process that started them is gone, even by SIGKILL.

A pipe does it, not Linux's PR_SET_PDEATHSIG: macOS has none, and it reaches no grandchildren.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

GRACE_SECONDS = 10.0


class Watchdog:
    """A process that reads a pipe: its end of file means that we are gone, and the groups it knows are ended."""

    def __enter__(self) -> "Watchdog":
        # A session of its own: neither Ctrl-C nor a signal to our group reaches it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(BrokenPipeError):
            self._pipe.close()
        self._process.wait()

    def watch(self, group: int) -> None:
        """End this process group when we are gone."""
        self._tell(f"+{group}")

    def forget(self, group: int) -> None:
        """The group has ended; its number may come to name another."""
        self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):  # somebody ended the watchdog: that is no reason to fail
            self._pipe.write(f"{line}\n")

    @property
    def _pipe(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin


def guard(lines: Iterable[str]) -> None:
    """Read `+group` and `-group` lines to their end, then end the groups that are left."""
    groups: set[int] = set()
    for line in lines:
        (groups.add if line.startswith("+") else groups.discard)(int(line[1:]))
    end(groups)


def end(groups: set[int]) -> None:
    """Ask each process group to stop (SIGINT: Postgres then drops its clients) and kill those that do not."""
    deadline = time.monotonic() + GRACE_SECONDS
    left = {group for group in groups if _signal(group, signal.SIGINT)}
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = {group for group in left if _signal(group, 0)}
    for group in left:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Signal a process group; False when it is no more."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS: only zombies are left in it
        return False
    return True


if __name__ == "__main__":
    guard(sys.stdin)

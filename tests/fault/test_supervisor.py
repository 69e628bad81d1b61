"""The supervisor: order, crashes, stops, and that it leaves no process behind, whatever happens to it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import RemoteDisconnected
from pathlib import Path

import psutil
import pytest

DEADLINE_SECONDS = 30.0


class Supervised:
    """A supervisor of fake services in a process of its own, and what it has written."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        self._log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.supervised", str(folder), *names],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.family = {psutil.Process(self.process.pid)}

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def await_line(self, text: str) -> None:
        self.await_that(lambda: text in self.log or self.process.poll() is not None, f"a line with {text!r}")
        assert text in self.log, self.log
        self.remember()

    def await_that(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not holds():
            assert time.monotonic() < deadline, f"waited in vain for {what}:\n{self.log}"
            time.sleep(0.02)

    def remember(self) -> None:
        """Note every process of the family that lives now."""
        with suppress(psutil.NoSuchProcess):
            self.family |= set(psutil.Process(self.process.pid).children(recursive=True))

    def living(self) -> list[psutil.Process]:
        return [one for one in self.family if _lives(one)]

    def crash(self, name: str) -> None:
        port = (self.folder / f"{name}.port").read_text()
        with suppress(urllib.error.URLError, RemoteDisconnected, ConnectionError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/crash", timeout=5)

    def starts(self, name: str) -> int:
        return len((self.folder / name).read_text().splitlines())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.remember()
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


@pytest.fixture
def supervise() -> Iterator[Callable[..., Supervised]]:
    made: list[Supervised] = []

    def start(*names: str) -> Supervised:
        folder = Path(tempfile.mkdtemp(prefix="wegit-"))
        folder.chmod(0o755)  # as root, Postgres runs as another account
        made.append(Supervised(folder, *names))
        return made[-1]

    yield start
    for one in made:
        one.remember()
        for process in one.living():
            with suppress(psutil.NoSuchProcess):  # or it has ended by itself since
                process.kill()
        one.process.wait()
        shutil.rmtree(one.folder)


def positions(log: str, *texts: str) -> list[int]:
    assert all(text in log for text in texts), log
    return [log.index(text) for text in texts]


def test_processes_start_in_order(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("first", "second")
    supervised.await_line("ready: all of them")
    order = positions(supervised.log, "I am first", "I am second", "ready: all of them")
    assert order == sorted(order)


def test_lines_carry_the_name_of_their_process(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("first", "second")
    supervised.await_line("ready: all of them")
    assert "second | listening, I am second" in supervised.log.splitlines()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_leaves_no_process(supervise: Callable[..., Supervised], number: signal.Signals) -> None:
    supervised = supervise("first", "second")
    supervised.await_line("ready: all of them")
    assert len(supervised.living()) == 1 + 2 * 2 + 1  # the supervisor, two services with a child each, the watchdog
    assert supervised.stop(number) == 0
    assert supervised.living() == []


def test_a_crashed_process_is_started_again(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("first", "second")
    supervised.await_line("ready: all of them")
    supervised.crash("first")
    supervised.await_that(lambda: supervised.starts("first") == 2, "a second start")
    assert "first ended with status 3; starting it again in 0.5 s" in supervised.log
    assert supervised.starts("second") == 1


def test_a_crashed_process_leaves_no_child(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("first")
    supervised.await_line("ready: all of them")
    before = supervised.living()
    supervised.crash("first")
    supervised.await_that(lambda: supervised.starts("first") == 2, "a second start")
    assert len([process for process in before if process in supervised.living()]) == 2  # supervisor and watchdog


def test_the_back_off_grows(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("first")
    supervised.await_line("ready: all of them")

    def is_said_after_a_crash() -> bool:
        supervised.crash("first")
        return "again in 1 s" in supervised.log

    supervised.await_that(is_said_after_a_crash, "a longer back-off")
    order = positions(supervised.log, "again in 0.5 s", "again in 1 s")
    assert order == sorted(order)


def test_a_process_that_cannot_start_stops_everything_with_its_reason(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("first", "broken", "never")
    supervised.await_line("I am first")
    assert supervised.process.wait(DEADLINE_SECONDS) == 1
    assert supervised.log.splitlines()[-1] == "wegit: broken ended with status 1: settings: SECRET_KEY: missing"
    assert not (supervised.folder / "never").exists()
    assert supervised.living() == []


def test_a_stop_during_the_start_leaves_no_process(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("first", "second")
    supervised.await_line("I am first")
    assert supervised.stop() == 0
    assert supervised.living() == []


def test_a_second_ctrl_c_hurries(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("stubborn")
    supervised.await_line("ready: all of them")
    supervised.process.send_signal(signal.SIGINT)
    supervised.await_line("stopping")
    assert supervised.process.poll() is None
    assert supervised.stop(signal.SIGINT) == 0
    assert supervised.living() == []


def test_sigkill_of_the_supervisor_leaves_no_process(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("postgres", "first", "second")
    supervised.await_line("ready: all of them")
    assert len(supervised.living()) > 1 + 2 * 2 + 1 + 1  # Postgres has processes of its own
    supervised.stop(signal.SIGKILL)
    supervised.await_that(lambda: supervised.living() == [], "the end of all")


def test_postgres_outlives_the_services(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("postgres", "first")
    supervised.await_line("ready: all of them")
    pids = [int(pid) for pid in (supervised.folder / "first").read_text().split()]
    supervised.process.send_signal(signal.SIGTERM)
    supervised.await_line("received fast shutdown request")
    assert not any(psutil.pid_exists(pid) for pid in pids[:1])
    assert supervised.process.wait(DEADLINE_SECONDS) == 0


def test_a_crashed_postgres_is_started_again(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise("postgres")
    supervised.await_line("ready: all of them")
    postmaster = (supervised.folder / "state" / "postgres" / "postmaster.pid").read_text().split()[0]
    os.kill(int(postmaster), signal.SIGKILL)
    supervised.await_line("was ended by SIGKILL; starting it again")
    supervised.await_that(
        lambda: supervised.log.count("ready to accept connections") == 2, "a second start of Postgres"
    )
    assert supervised.stop() == 0
    assert supervised.living() == []

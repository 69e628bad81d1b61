"""A real Postgres in a temporary folder, to be started, stopped and killed at will."""

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psycopg2

from local.embedded_postgres import EmbeddedPostgres
from local.watchdog import Watchdog

START_SECONDS = 30.0


class ThrowawayPostgres:
    """Fast, not durable. Its data survive `stop` and `kill`, not the end of the `with` block."""

    def __enter__(self) -> "ThrowawayPostgres":
        # Not pytest's tmp_path: as root that is closed to the account that Postgres runs as, and its path is long.
        self.folder = Path(tempfile.mkdtemp(prefix="wegit-"))
        self._cluster = EmbeddedPostgres(self.folder, is_durable=False)
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog = Watchdog().__enter__()
        self.url = self._cluster.url
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._watchdog.__exit__(kind, error, traceback)
        shutil.rmtree(self.folder)

    @property
    def log(self) -> str:
        """What Postgres has said."""
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        launch = self._cluster.prepare()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                launch.command,
                env=launch.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **launch.options,
            )
        self._watchdog.watch(self._process.pid)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg2.connect(self.url).close()
                return
            except psycopg2.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"Postgres did not start:\n{self.log}") from None
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it as an operator would; clients are cut off. Nothing happens when it is stopped already."""
        self._end(signal.SIGINT)

    def stop_immediately(self) -> None:
        """Stop it as `pg_ctl stop -m immediate` does: clients are cut off, and it recovers when it starts."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """End it with no warning, as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
            self._watchdog.forget(self._process.pid)
            self._process = None
        self._cluster.release()

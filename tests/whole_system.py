"""The whole system as `make run` starts it, with imitations of GitHub and Slack beside it; everything it says is kept."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2

from local.imitation_github.credentials import OWNER_TOKEN, READER_TOKEN, REVOKED_TOKEN, SECOND_READER_TOKEN
from local.stack import free_ports

ROOT = Path(__file__).parent.parent
START_SECONDS = 60
SECRET_KEY = "a secret key of the tests' own, long enough"
OPERATOR_KEY = "the-tests-own-operator-key-long-enough"
SLACK_PATH = "/services/T00SECRETTEAM/B00SECRETHOOK/secretsecretsecretsecret"

SECRETS = (
    READER_TOKEN,
    SECOND_READER_TOKEN,
    OWNER_TOKEN,
    REVOKED_TOKEN,
    SECRET_KEY,
    OPERATOR_KEY,
    SLACK_PATH,
    "B00SECRETHOOK",
)


class Reply(NamedTuple):
    """An answer of the gateway, whatever its status."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class WholeSystem:
    """Gateway, services, migrations and supervisor as processes of their own, on ports of their own."""

    def __init__(self, database_url: str, folder: Path, settings: Mapping[str, str]) -> None:
        github_port, gateway_port = free_ports(2)
        self.github_url = f"http://127.0.0.1:{github_port}"
        self.url = f"http://127.0.0.1:{gateway_port}"
        self.database_url = database_url
        self._log_path = folder / "log"
        self.slack = SlackLedger()
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "VIRTUAL_ENV"}}
        environment = {
            **kept,
            "PYTHONUNBUFFERED": "1",
            "DATABASE_URL": database_url,
            "SECRET_KEY": SECRET_KEY,
            "OPERATOR_KEY": OPERATOR_KEY,
            "GATEWAY_PORT": str(gateway_port),
            "GITHUB_API_URL": self.github_url,
            "GITHUB_WEB_URL": self.github_url,
            "TRENDING_INTERVAL_SECONDS": "0.05",
            "SLACK_WEBHOOK_URL": f"{self.slack.url}{SLACK_PATH}",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "debug",
            **settings,
        }
        with self._log_path.open("wb") as log:
            self._processes = [
                subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log)
                for arguments in (["local.imitation_github", "--port", str(github_port)], ["local", "run"])
            ]
        self._wait_until_ready()

    @property
    def log(self) -> str:
        """Everything that any process has said so far."""
        return self._log_path.read_text(errors="replace")

    def what_leaked(self) -> list[str]:
        """Where any of the secrets in use can be read: the log, what Slack was told, and each row of the database."""
        places = {"log": self.log, "Slack": b"".join(self.slack.bodies).decode(errors="replace")}
        places |= {f"table {table}": self.rows(table) for table in self._tables()}
        assert all(places[name] for name in ("log", "table account")), "nothing there to look at"
        return [f"{secret[:8]}… in {place}" for place, text in places.items() for secret in SECRETS if secret in text]

    def rows(self, table: str) -> str:
        """A table's rows as lines of JSON."""
        with closing(psycopg2.connect(self.database_url)) as connection, connection.cursor() as cursor:
            cursor.execute(f'select row_to_json(t)::text from "{table}" t')
            return "\n".join(row for (row,) in cursor.fetchall())

    def _tables(self) -> list[str]:
        with closing(psycopg2.connect(self.database_url)) as connection, connection.cursor() as cursor:
            cursor.execute("select table_name from information_schema.tables where table_schema = 'public'")
            return [table for (table,) in cursor.fetchall()]

    def stop(self) -> int:
        """Stop as Ctrl-C does, and return the supervisor's exit status."""
        github, wegit = self._processes
        wegit.send_signal(signal.SIGINT)
        try:
            status = wegit.wait(60)
        finally:
            wegit.kill()
            github.terminate()
            github.wait(10)
            self.slack.close()
        return status

    def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Reply:
        """Ask the gateway; the path goes out as it is."""
        return self._ask(f"{self.url}{path}", headers or {}, method)

    def post(self, url: str, body: Any) -> int:
        """POST JSON to any address, and return the status."""
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as response:
            status: int = response.status
            return status

    def services(self) -> dict[str, str]:
        """The base URL of each service by name, as the log tells it."""
        started = re.findall(r'"port":(\d+)[^\n]*"event":"service.started"[^\n]*"service":"([^"]+)"', self.log)
        return {name: f"http://127.0.0.1:{port}" for port, name in started}

    def ask(self, url: str) -> Reply:
        """Ask any address."""
        return self._ask(url, {}, "GET")

    def fault(self, **told: Any) -> None:
        """Have GitHub fail: see the imitation's faults."""
        self._tell_github("POST", "/_imitation/faults", told)

    def heal(self) -> None:
        """Let GitHub be well again, and every budget fresh."""
        self._tell_github("DELETE", "/_imitation/faults")
        self._tell_github("DELETE", "/_imitation/limits")

    def forget_requests(self) -> None:
        """Begin a new ledger of what GitHub is asked."""
        self._tell_github("DELETE", "/_imitation/requests")

    def github_requests(self) -> list[dict[str, Any]]:
        """What GitHub was asked, without the checks of credentials that go on by themselves."""
        ledger: list[dict[str, Any]] = self._ask(f"{self.github_url}/_imitation/requests", {}, "GET").json()
        return [entry for entry in ledger if entry["path"] != "/rate_limit"]

    def _tell_github(self, method: str, path: str, body: Any = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.github_url}{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request, timeout=10).close()

    def _ask(self, url: str, headers: Mapping[str, str], method: str) -> Reply:
        request = urllib.request.Request(url, headers=dict(headers), method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Reply(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.headers, error.read())

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while "ready: the gateway listens on" not in self.log:
            ended = [process for process in self._processes if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                log = self.log
                self.stop()
                raise AssertionError(f"not ready; the log ends with:\n{log[-4000:]}")
            time.sleep(0.05)


class SlackLedger:
    """A Slack webhook that takes everything and keeps it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        ledger = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                ledger.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Take nothing any more."""
        self._server.shutdown()
        self._server.server_close()


def eventually(is_so: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait for something that happens behind the scenes."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True

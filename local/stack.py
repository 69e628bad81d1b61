"""Which processes make up WeGit, in which order they start, what each is told, and when it is ready."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import closing
from functools import partial

import psycopg2

from local.embedded_postgres import Launch
from local.settings_file import ROOT
from local.supervisor import Process

LOOPBACK = "127.0.0.1"
INNER_SERVICES = ("notifier_service", "repo_service", "developer_service", "search_service")
NOT_IN_DEMO = (
    "DATABASE_URL",
    "GITHUB_TOKENS",
    "GITHUB_CLIENT_ID",
    "GITHUB_CLIENT_SECRET",
    "GITHUB_API_URL",
    "GITHUB_WEB_URL",
    "SLACK_WEBHOOK_URL",
    "ALERT_URLS",
    "WECHAT_API_URL",
    "WECHAT_APP_ID",
    "WECHAT_APP_SECRET",
    "WECHAT_PUSH_TOKEN",
    "WECHAT_PUSH_AES_KEY",
)
"""What would let a demo read or write anything real."""
NEWCOMER_SECONDS = 60
"""How often something new trends in the demo."""
DEMO_OPERATOR_KEY = "demo-operator-key-that-is-no-secret"
IN_DEMO = {
    "TRENDING_INTERVAL_SECONDS": "0.2",
    "TRENDING_PAGE_INTERVAL_SECONDS": "15",
    "WEBHOOK_PRIVATE_ADDRESSES": "true",  # to be received on this machine
    "OPERATOR_KEY": DEMO_OPERATOR_KEY,
}
"""Something new is seen soon after it came, and may be told to a webhook on this machine."""


class PortTaken(Exception):
    """Somebody listens there already; the text says what to do."""


def free_ports(count: int) -> list[int]:
    """TCP ports on the loopback address that nobody listens on now, all different."""
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def check_port_is_free(host: str, port: int) -> None:
    """Say now what the gateway would find out last. Raises PortTaken."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise PortTaken(
            f"GATEWAY_PORT: cannot listen on {host}:{port} ({os.strerror(error.errno or 0)});"
            " stop what listens there (another WeGit?), or set another port"
        ) from None


def wegit(settings: Mapping[str, str], database_url: str) -> list[list[Process]]:
    """Migrations, then the four services behind the gateway, then the gateway, for settings that name GATEWAY_PORT."""
    ports = dict(zip(INNER_SERVICES, free_ports(len(INNER_SERVICES)), strict=True))
    shared = {
        "LOG_FORMAT": "console",
        **settings,
        "DATABASE_URL": database_url,
        "PYTHONUNBUFFERED": "1",
        **{f"{name.upper()}_URL": f"http://{LOOPBACK}:{port}" for name, port in ports.items()},
    }
    migrations = Process("migrations", [sys.executable, "migrations/apply.py"], shared, options={"cwd": ROOT})
    inner = [
        _python(name, [], {**shared, "HOST": LOOPBACK, "PORT": str(port)}, LOOPBACK, port)
        for name, port in ports.items()
    ]
    internal = int(settings.get("GATEWAY_INTERNAL_PORT") or free_ports(1)[0])
    told = {**shared, "GATEWAY_INTERNAL_HOST": LOOPBACK, "GATEWAY_INTERNAL_PORT": str(internal)}
    return [[migrations], inner, [_python("gateway", [], told, LOOPBACK, internal)]]


def imitation_github(settings: Mapping[str, str], port: int) -> Process:
    """The GitHub of the demo, API and pages on one port."""
    environment = {**settings, "PYTHONUNBUFFERED": "1"}
    arguments = ["--port", str(port), "--newcomer-seconds", str(NEWCOMER_SECONDS)]
    return _python("local.imitation_github", arguments, environment, LOOPBACK, port, path=None)


def demo_settings(settings: Mapping[str, str], github_port: int, token: str) -> dict[str, str]:
    """The demo's own settings instead of anything real: both of GitHub's addresses at the imitation, a token it knows,
    an operator's key."""
    github = f"http://{LOOPBACK}:{github_port}"
    kept = {name: value for name, value in settings.items() if name not in NOT_IN_DEMO}
    return {**kept, **IN_DEMO, "GITHUB_API_URL": github, "GITHUB_WEB_URL": github, "GITHUB_TOKENS": token}


def postgres(launch: Launch, url: str) -> Process:
    """The embedded Postgres; it stops at SIGINT, clients or not."""
    return Process(
        "postgres",
        launch.command,
        launch.environment,
        partial(asyncio.to_thread, _takes_connections, url),
        stop_signal=signal.SIGINT,
        hurry_signal=signal.SIGQUIT,  # not SIGKILL: it ends its own children
        options=launch.options,
    )


def gateway_host(settings: Mapping[str, str]) -> str:
    """The address that the gateway listens on: loopback unless HOST says otherwise."""
    return settings.get("HOST") or LOOPBACK


def _python(
    module: str,
    arguments: list[str],
    environment: Mapping[str, str],
    host: str,
    port: int,
    path: str | None = "/health/ready",
) -> Process:
    probed = LOOPBACK if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not listened on
    return Process(
        module.rpartition(".")[2].replace("_", "-"),
        [sys.executable, "-m", module, *arguments],
        environment,
        partial(answers, probed, port, path),
        options={"cwd": ROOT},
    )


async def answers(host: str, port: int, path: str | None) -> bool:
    """True when a GET of the path is answered with 200; without a path, when a connection is taken."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, port)
            with closing(writer):
                if path is None:
                    return True
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                return b" 200 " in await reader.readline()
    except (OSError, TimeoutError):
        return False


def _takes_connections(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True

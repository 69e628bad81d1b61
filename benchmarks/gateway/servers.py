"""What is measured: the gateway and what stands beside it, each as a process on the server's core."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import psutil

from benchmarks.gateway.nginx import write_configuration
from benchmarks.gateway.sample import BODY
from benchmarks.system import Ground, NotReady, RunningSystem
from benchmarks.table import say
from local import stack
from local.supervisor import Process

ROOT = Path(__file__).parents[2]
FLASK_ENVIRONMENT = ROOT / ".venv-flask"
"""An environment that only this benchmark uses, so that nobody else has Flask installed."""
UPSTREAM, DIRECT, GATEWAY, BARE, NAIVE, NGINX, FLASK = (
    "upstream",
    "direct",
    "gateway",
    "bare",
    "naive",
    "nginx",
    "flask",
)
NO_LIMIT_PER_MINUTE = "1000000000"


def pick_cores() -> tuple[int, int]:
    """The server's core, and that of load and upstream. Raises NotReady where there are no two to pin to.

    The last one and the first: a machine's interrupts and chores gather on the first, and are no doing of a server.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        raise NotReady("the gateway is measured on a core of its own: this needs Linux and two cores")
    return cores[-1], cores[0]


class Servers:
    """What runs: the base URL of each by name, and what it costs. `missing` says what is left out, and why."""

    def __init__(self, urls: dict[str, str], process_ids: dict[str, int], missing: list[str]) -> None:
        self.urls = urls
        self.missing = missing
        self._process_ids = process_ids

    def cpu_seconds(self, name: str) -> float:
        """CPU time so far of a server and its workers, from /proc."""
        return sum(float(each.user + each.system) for each in (one.cpu_times() for one in self._processes(name)))

    def resident_bytes(self, name: str) -> int:
        """Resident memory of a server and its workers."""
        return sum(int(one.memory_info().rss) for one in self._processes(name))

    def _processes(self, name: str) -> list[psutil.Process]:
        # nginx listens twice, but is one.
        process = psutil.Process(self._process_ids[NGINX if name.startswith(NGINX) else name])
        return [process, *process.children(recursive=True)]


@asynccontextmanager
async def running_servers(
    ground: Ground, folder: Path, names: Collection[str], *, cores: Collection[int], workers: int = 1
) -> AsyncIterator[Servers]:
    """The upstream on this process's core, and the others named, the gateway with so many workers, on `cores`.

    `DIRECT` is the upstream's program once more, on `cores`: as far from the load as what is compared with it.
    """
    ports = dict(zip((UPSTREAM, *names), stack.free_ports(len(names) + 1), strict=True))
    missing: list[str] = []
    made = [_gateway(ports, workers)]
    if DIRECT in names:
        made.append(_upstream(DIRECT, ports[DIRECT]))
    body = folder / "body.json"
    body.write_bytes(BODY)
    if BARE in names:
        command = ["-m", "benchmarks.bare", "--plain", str(ports[BARE]), str(body)]
        made.append(_process(BARE, [sys.executable, *command], ports[BARE]))
    if NAIVE in names:
        upstream = f"http://{stack.LOOPBACK}:{ports[UPSTREAM]}"
        command = ["-m", "benchmarks.gateway.naive_proxy", str(ports[NAIVE]), upstream]
        made.append(_process(NAIVE, [sys.executable, *command], ports[NAIVE]))
    if NGINX in names:
        (ports["nginx proxy"],) = stack.free_ports(1)
        made += _nginx(folder, ports, missing)
    if FLASK in names:
        made += _flask(ports[FLASK], body, missing)
    pinned = [_pinned(process, cores) for process in made]
    async with ground.running([[_upstream(UPSTREAM, ports[UPSTREAM])], pinned], RunningSystem()) as running:
        started = {name for name in ports if name.removesuffix(" proxy") in running.process_ids}
        urls = {name: f"http://{stack.LOOPBACK}:{ports[name]}" for name in started}
        yield Servers(urls, running.process_ids, missing)


def _upstream(name: str, port: int) -> Process:
    return _process(name, [sys.executable, "-m", "benchmarks.gateway.upstream", str(port)], port)


def _gateway(ports: dict[str, int], workers: int) -> Process:
    (internal_port,) = stack.free_ports(1)
    services = ("REPO_SERVICE", "DEVELOPER_SERVICE", "SEARCH_SERVICE", "NOTIFIER_SERVICE")
    settings = {
        **{f"{service}_URL": f"http://{stack.LOOPBACK}:{ports[UPSTREAM]}" for service in services},
        "HOST": stack.LOOPBACK,
        "GATEWAY_PORT": str(ports[GATEWAY]),
        "GATEWAY_INTERNAL_PORT": str(internal_port),
        "GATEWAY_WORKERS": str(workers),
        "TRUSTED_PROXIES": stack.LOOPBACK,
        # The limits are kept account of as ever, and never reached.
        "RATE_LIMIT_PER_MINUTE": NO_LIMIT_PER_MINUTE,
        "SEARCH_RATE_LIMIT_PER_MINUTE": NO_LIMIT_PER_MINUTE,
    }
    return _process(GATEWAY, [sys.executable, "-m", "gateway"], internal_port, settings, path="/health/ready")


def _nginx(folder: Path, ports: dict[str, int], missing: list[str]) -> list[Process]:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        missing.append("nginx is not installed (Debian, Ubuntu: apt install nginx): left out")
        return []
    file = write_configuration(
        folder, upstream_port=ports[UPSTREAM], cache_port=ports[NGINX], proxy_port=ports["nginx proxy"]
    )
    return [_process(NGINX, [program, "-e", str(folder / "error.log"), "-c", str(file)], ports[NGINX])]


def _flask(port: int, body: Path, missing: list[str]) -> list[Process]:
    if not _has_flask():
        missing.append("Flask could not be installed: left out")
        return []
    command = [str(FLASK_ENVIRONMENT / "bin" / "gunicorn"), "--workers=2", "--worker-class=sync", "--log-level=error"]
    command += [f"--bind={stack.LOOPBACK}:{port}", "--chdir", str(Path(__file__).parent), "flask_app:app"]
    return [_process(FLASK, command, port, {"BODY": str(body)})]


def _has_flask() -> bool:
    python = FLASK_ENVIRONMENT / "bin" / "python"
    wanted = Path(__file__).parent / "requirements-flask.txt"
    stamp = FLASK_ENVIRONMENT / wanted.name
    if stamp.exists() and stamp.read_bytes() == wanted.read_bytes():
        return True
    say("gateway: making an environment with Flask in .venv-flask")
    make = [sys.executable, "-m", "venv", str(FLASK_ENVIRONMENT)]
    install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(wanted)]
    if any(subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0 for command in (make, install)):
        return False
    shutil.copy(wanted, stamp)
    return True


def _process(
    name: str, command: Sequence[str], port: int, settings: dict[str, str] | None = None, path: str | None = None
) -> Process:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    return Process(
        name,
        command,
        {**kept, "LOG_FORMAT": "json", **(settings or {})},
        partial(stack.answers, stack.LOOPBACK, port, path),
        options={"cwd": ROOT},
    )


def _pinned(process: Process, cores: Collection[int]) -> Process:
    options = {**process.options, "preexec_fn": partial(os.sched_setaffinity, 0, cores)}
    return Process(process.name, process.command, process.environment, process.is_ready, options=options)


async def settle(seconds: float = 0.5) -> None:
    """Let what the last one has left behind (closing connections, renewals) be over."""
    await asyncio.sleep(seconds)

"""A project of Docker Compose: its command line, its containers and its published door."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
FILES = ("docker-compose.yml", "docker-compose.demo.yml")


def missing_engine() -> str | None:
    """Why containers cannot be run here; None when they can."""
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"no Docker engine: {type(error).__name__}"
        if done.returncode:
            return f"no Docker engine: {' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}"
    return None


@dataclass(frozen=True)
class Answer:
    """What the gateway answered; the body as JSON."""

    status: int
    body: Any


class ComposeProject:
    """`docker compose` for one project name and one file of settings; nothing of the caller's settings gets in."""

    def __init__(self, name: str, env_file: Path, settings: Mapping[str, str]) -> None:
        self.name = name
        self.settings = dict(settings)
        env_file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self._command = ["docker", "compose", "--project-name", name, "--env-file", str(env_file), "--ansi", "never"]
        self._command += [part for file in FILES for part in ("--file", str(ROOT / file))]

    def run(
        self, *arguments: str, check: bool = True, timeout_seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` with these arguments. Raises AssertionError with its output when it fails."""
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"} or "DOCKER" in name}
        done = subprocess.run(
            [*self._command, *arguments],
            env=kept,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        """What `docker inspect` says of the project's containers, or of one service's; those that ended too."""
        ids = self.run("ps", "--all", "--quiet", *([service] if service else [])).stdout.split()
        assert ids, f"no container of {service or self.name}"
        inspected: list[dict[str, Any]] = json.loads(
            subprocess.run(["docker", "inspect", *ids], capture_output=True, check=True).stdout
        )
        return inspected

    def logs(self) -> str:
        """All that every container has written."""
        return self.run("logs", "--no-color").stdout

    def log_of(self, container: Mapping[str, Any]) -> list[str]:
        """The lines that one container, as `containers` tells of it, has written."""
        command = ["docker", "logs", container["Id"]]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
        return done.stdout.splitlines()

    def get(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET from the gateway, by its published port."""
        request = urllib.request.Request(f"http://{self.door()}{target}", headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return Answer(response.status, json.load(response))
        except urllib.error.HTTPError as error:
            return Answer(error.code, json.load(error))

    def door(self) -> str:
        """Where the gateway is published, as host:port."""
        return self.run("port", "gateway", "8080").stdout.strip()

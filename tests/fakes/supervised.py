"""A supervisor of fake services, as a process of its own: `python -m tests.fakes.supervised FOLDER NAME…`.

NAME `broken` is a service that ends at once; `stubborn` one that does not stop when asked; `postgres` is a real one.
Writes FOLDER/NAME.port for each.
"""

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

from local import stack
from local.embedded_postgres import EmbeddedPostgres
from local.supervisor import Process, StartFailed, Supervisor


def make_process(folder: Path, name: str, port: int) -> Process:
    if name == "postgres":
        cluster = EmbeddedPostgres(folder / "state", is_durable=False)
        return stack.postgres(cluster.prepare(), cluster.url)
    if name == "broken":
        command = [sys.executable, "-c", "print('settings: SECRET_KEY: missing'); raise SystemExit(1)"]
    else:
        command = [sys.executable, "tests/fakes/supervised_service.py", str(port), str(folder / name), name]
    (folder / f"{name}.port").write_text(str(port))
    return Process(name, command, os.environ, partial(stack.answers, "127.0.0.1", port, "/health/ready"))


def main() -> None:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    stages = [
        [make_process(folder, name, port)] for name, port in zip(names, stack.free_ports(len(names)), strict=True)
    ]
    try:
        asyncio.run(Supervisor(stages).run("ready: all of them"))
    except StartFailed as error:
        sys.exit(f"wegit: {error}")


if __name__ == "__main__":
    main()

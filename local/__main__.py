"""The command line: `python -m local run` and `python -m local demo`."""

import argparse
import asyncio
import os
import sys

from local import stack
from local.embedded_postgres import EmbeddedPostgres, state_folder
from local.postgres_programs import PostgresError
from local.settings_file import ensure_settings_file, read_settings
from local.supervisor import Process, StartFailed, Supervisor

DESCRIPTION = """\
Run WeGit on this machine, without Docker: Postgres, the migrations and the five services.
Settings come from the environment and, beneath it, from the file .env, which is made when there is none.
Ctrl-C stops everything; a second one hurries."""


def main() -> None:
    """Run until a stop signal, then exit with 0; with 1 and one line on standard error if the start fails."""
    parser = argparse.ArgumentParser(
        prog="python -m local", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{run,demo}")
    commands.add_parser("run", help="ask GitHub; data are kept between runs (or in DATABASE_URL, if that is set)")
    commands.add_parser("demo", help="ask an imitation of GitHub: no network, and data of its own")
    is_demo = parser.parse_args().command == "demo"
    try:
        if filled := ensure_settings_file():
            print(f".env: made fresh {' and '.join(filled)}")
        run(dict(os.environ), is_demo=is_demo)
    except (StartFailed, PostgresError, stack.PortTaken, ValueError, OSError) as error:
        sys.exit(f"wegit: {error}")


def run(environment: dict[str, str], *, is_demo: bool) -> None:
    """Run WeGit. Raises StartFailed, PostgresError, PortTaken, ValueError for a GATEWAY_PORT that is no port."""
    settings = read_settings(environment)
    settings["GATEWAY_PORT"] = settings.get("GATEWAY_PORT") or "8080"
    if not settings["GATEWAY_PORT"].isdecimal() or not 0 < int(settings["GATEWAY_PORT"]) < 65536:
        raise ValueError("GATEWAY_PORT: should be a number from 1 to 65535")
    host, port = stack.gateway_host(settings), int(settings["GATEWAY_PORT"])
    stack.check_port_is_free(host, port)
    announcement = (
        f"ready: the gateway listens on http://{host}:{port}"
        f" - try: curl 'http://{host}:{port}/gitter/trending-repositories?since=daily'"
    )
    first: list[Process] = []
    if is_demo:
        from local.imitation_github.credentials import READER_TOKEN  # nothing else needs the imitation

        (github_port,) = stack.free_ports(1)
        settings = stack.demo_settings(settings, github_port, READER_TOKEN)
        first.append(stack.imitation_github(settings, github_port))
        announcement += f"; GitHub is http://127.0.0.1:{github_port}; OPERATOR_KEY is {stack.DEMO_OPERATOR_KEY}"
    database_url = settings.get("DATABASE_URL")
    if not database_url:
        folder = state_folder("wegit-demo" if is_demo else "wegit", environment)
        cluster = EmbeddedPostgres(folder)
        database_url = cluster.url  # no secret is in it
        print(f"Postgres keeps its data in {folder}; while it runs: DATABASE_URL='{database_url}'", flush=True)
        first.append(stack.postgres(cluster.prepare(), database_url))
    asyncio.run(Supervisor([first, *stack.wegit(settings, database_url)]).run(announcement))


if __name__ == "__main__":
    main()

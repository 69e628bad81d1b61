"""The command line: `python -m benchmarks [hop|start|memory ...]`."""

import argparse
import signal
import sys

import uvloop

from benchmarks.driver import UnexpectedAnswer
from benchmarks.hop import measure_hop
from benchmarks.memory import measure_memory
from benchmarks.start import measure_start
from benchmarks.system import Ground, NotReady
from benchmarks.table import describe_run, say
from local.postgres_programs import PostgresError

NAMES = ("start", "memory", "hop")
DESCRIPTION = """\
Measure WeGit on this machine and print tables. Everything is started here, on a database that is thrown away, and
stopped again; GitHub is not asked. Figures compare within one run only; progress goes to standard error.

  start   seconds until each process, and the whole, is ready
  memory  what each process keeps while idle
  hop     requests a second, latency and CPU time, through the gateway and beside it"""


def main() -> None:
    """Print the tables; exit with 1 and the reason on standard error when something does not start or answer."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", nargs="*", choices=[[], *NAMES], metavar="{start,memory,hop}", help="default: all")
    parser.add_argument("--rounds", type=_at_least_one, help="how often to repeat (default: start 3, hop 5)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop everything as Ctrl-C does
    try:
        uvloop.run(_measure(arguments.benchmark or list(NAMES), arguments.rounds))
    except (NotReady, PostgresError, UnexpectedAnswer, OSError) as error:
        sys.exit(f"benchmarks: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


async def _measure(names: list[str], rounds: int | None) -> None:
    print(f"{describe_run(sys.argv[1:])}\n", flush=True)
    with Ground() as ground:
        if "start" in names:
            print(await measure_start(ground, rounds or 3), flush=True)
        if "memory" not in names and "hop" not in names:
            return
        say("starting the system")
        async with ground.running_system() as system:
            if "memory" in names:
                print(await measure_memory(system), flush=True)
            if "hop" in names:
                print(await measure_hop(system, rounds or 5), flush=True)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    main()

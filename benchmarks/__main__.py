"""The command line: `python -m benchmarks [NAME ...]`."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

import structlog
import uvloop

from benchmarks.cache_memory import measure_cache_memory
from benchmarks.driver import UnexpectedAnswer
from benchmarks.gateway.measure import measure_gateway
from benchmarks.hit import measure_hit
from benchmarks.memory import measure_memory
from benchmarks.queue.measure import measure_queue
from benchmarks.queue.measure_http import measure_http
from benchmarks.queue.measure_snapshot import measure_snapshot
from benchmarks.quota import measure_quota
from benchmarks.stampede import measure_stampede
from benchmarks.start import measure_start
from benchmarks.system import Ground, NotReady
from benchmarks.table import describe_run, say
from benchmarks.trending import measure_trending
from local.postgres_programs import PostgresError

WHAT = {
    "start": "seconds until each process, and the whole, is ready",
    "memory": "what each process keeps while idle",
    "quota": "points of GitHub's quota that six hours of demand cost, on a simulated clock (about two minutes)",
    "stampede": "calls to GitHub when 1,000 clients ask three replicas for one repository that nobody has a copy of",
    "gateway": "beside nginx, Flask and aiohttp, on one core: rates, latencies, memory (a quarter of an hour)",
    "queue": "beside pgqueuer, procrastinate and graphile-worker: draining, enqueuing, picking up (some minutes)",
    "queue-http": "webhooks delivered to a receiver here, and where the time goes",
    "queue-snapshot": "claims while an old snapshot is held and 1,000 deliveries a second go through",
    "hit": "an answer from a copy: look-up, Postgres, and the whole request beside a bare handler",
    "trending": "reading a trending page, and how late the event loop comes while pages are collected",
    "cache-memory": "what 100,000 copies offered to the process's cache weigh, beside its limit",
}
DESCRIPTION = "\n".join(
    [
        "Measure WeGit on this machine and print tables. Everything is started here, on a database that is thrown",
        "away, and stopped again; GitHub is an imitation, or is not asked. Figures compare within one run only;",
        "progress goes to standard error.",
        "",
        *(f"  {name:14}{what}" for name, what in WHAT.items()),
    ]
)


def main() -> None:
    """Print the tables; exit with 1 and the reason on standard error when something does not start or answer."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "benchmark", nargs="*", type=_known_name, default=list(WHAT), metavar="NAME", help="as above; default: all"
    )
    parser.add_argument("--rounds", type=_at_least_one, help="how often to repeat (default: start 3, others 5)")
    parser.add_argument(
        "--soak-seconds", type=_at_least_one, default=600, help="how long gateway takes mixed traffic (default: 600)"
    )
    parser.add_argument(
        "--deliveries", type=_at_least_one, default=20_000, help="how many queue drains (default: 20000)"
    )
    parser.add_argument(
        "--held-seconds", type=_at_least_one, default=60, help="how long queue-snapshot holds it (default: 60)"
    )
    arguments = parser.parse_args()
    # What the parts that run in this process say: the tables alone are the output.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        uvloop.run(
            _measure(
                arguments.benchmark,
                arguments.rounds,
                arguments.soak_seconds,
                arguments.deliveries,
                arguments.held_seconds,
            )
        )
    except (NotReady, PostgresError, UnexpectedAnswer, OSError) as error:
        sys.exit(f"benchmarks: {error}")
    except asyncio.CancelledError:
        sys.exit(130)


async def _measure(
    names: Sequence[str], rounds: int | None, soak_seconds: int, deliveries: int, held_seconds: int
) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    print(f"{describe_run(sys.argv[1:])}\n", flush=True)
    with Ground() as ground:
        if "start" in names:
            print(await measure_start(ground, rounds or 3), flush=True)
        if "memory" in names:
            say("starting the system")
            async with ground.running_system() as system:
                print(await measure_memory(system), flush=True)
        if "gateway" in names:
            print(await measure_gateway(ground, rounds or 5, soak_seconds), flush=True)
        if "queue" in names:
            print(await measure_queue(ground, rounds or 3, deliveries), flush=True)
        if "queue-http" in names:
            print(await measure_http(ground, rounds or 5, deliveries), flush=True)
        if "queue-snapshot" in names:
            print(await measure_snapshot(ground, held_seconds), flush=True)
        if "quota" in names:
            print(await measure_quota(ground), flush=True)
        if "stampede" in names:
            print(await measure_stampede(ground, rounds or 5), flush=True)
        if "hit" in names:
            print(await measure_hit(ground, rounds or 5), flush=True)
        if "trending" in names:
            print(await measure_trending(ground, rounds or 5), flush=True)
        if "cache-memory" in names:
            print(await measure_cache_memory(rounds or 5), flush=True)


def _known_name(text: str) -> str:
    # Not argparse's choices: with these Python 3.11 refuses to be given none.
    if text not in WHAT:
        raise argparse.ArgumentTypeError(f"should be one of {', '.join(WHAT)}")
    return text


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("should be a number from 1 on")
    return int(text)


if __name__ == "__main__":
    main()

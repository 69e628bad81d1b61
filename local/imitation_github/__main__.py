"""The command line: `python -m local.imitation_github --port N`."""

import argparse
from datetime import timedelta

from aiohttp import web

from local import imitation_github
from local.imitation_github.app import SEED, make_app

SHUTDOWN_SECONDS = 1.0


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m local.imitation_github",
        description=imitation_github.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--seed", type=int, default=SEED, help="another number makes another world")
    parser.add_argument(
        "--newcomer-seconds",
        type=float,
        metavar="SECONDS",
        help="let a new Rust repository trend every so many seconds (default: none come)",
    )
    options = parser.parse_args()
    every = timedelta(seconds=options.newcomer_seconds) if options.newcomer_seconds else None
    app = make_app(seed=options.seed, newcomer_every=every)
    web.run_app(
        app,
        host=options.host,
        port=options.port,
        shutdown_timeout=SHUTDOWN_SECONDS,
        access_log=None,
        print=None,
    )


if __name__ == "__main__":
    main()

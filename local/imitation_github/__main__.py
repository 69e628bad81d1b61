"""The command line: `python -m local.imitation_github --port N`."""

import argparse

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
    options = parser.parse_args()
    app = make_app(seed=options.seed)
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

"""A tiny service to be supervised: `python tests/fakes/supervised_service.py PORT FILE [stubborn]`.

Writes its process id and its child's to FILE at each start, and a line to the log; answers a GET with 200, but /crash
by dying. Its child stays in its process group. `stubborn`: it does not stop at SIGTERM or SIGINT.
"""

import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Readiness, and an end without a word."""

    def do_GET(self) -> None:
        if self.path == "/crash":
            os._exit(3)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Probes are not worth a line."""


def main() -> None:
    """Serve until told to stop."""
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    child = subprocess.Popen(["sleep", "600"])
    with file.open("a") as pids:
        pids.write(f"{os.getpid()} {child.pid}\n")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN if "stubborn" in sys.argv else lambda *_: sys.exit(0))
    print(f"listening, I am {file.name}", flush=True)
    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()

"""Compression away from the event loop: each kept answer once per encoding, by one thread, and only so many waiting."""

import asyncio
import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import brotli

from gateway.cache.encoding import BR, GZIP

WAITING_LIMIT = 64
"""Answers to be compressed; what comes while so many wait is sent as it is, and tried again when asked for again."""
_BROTLI_QUALITY = 5
_GZIP_LEVEL = 6
_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    BR: lambda body: bytes(brotli.compress(body, quality=_BROTLI_QUALITY)),
    GZIP: lambda body: gzip.compress(body, _GZIP_LEVEL, mtime=0),
}


class Compression:
    """One thread that compresses; both libraries let go of the interpreter's lock while they work."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compression")
        self._waiting: dict[tuple[int, str], asyncio.Future[bytes]] = {}

    def close(self) -> None:
        """Finish what is being compressed, and forget the rest."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def begin(self, name: int, encoding: str, body: bytes, done: Callable[[bytes], None]) -> None:
        """Compress `body`, and hand the result to `done` in the event loop; once at a time for a `name` and encoding.

        Nothing happens when too many wait. Needs a running loop.
        """
        key = (name, encoding)
        if key in self._waiting or len(self._waiting) >= WAITING_LIMIT:
            return
        work = asyncio.get_running_loop().run_in_executor(self._thread, _COMPRESSORS[encoding], body)
        self._waiting[key] = work

        def finish(work: asyncio.Future[bytes]) -> None:
            del self._waiting[key]
            if not work.cancelled() and work.exception() is None:
                done(work.result())

        work.add_done_callback(finish)

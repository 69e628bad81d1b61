"""Background tasks with an owner: when one dies it is logged and started again, later each time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
CANCEL_INTERVAL_SECONDS = 0.5
log = structlog.get_logger()


@asynccontextmanager
async def running(name: str, work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Keep `work` running while the context is open. `work` should never return: a return is treated as a death.

    The pause before a restart doubles from 0.5 s to 30 s and starts anew once `work` has lived for a minute.
    """
    task = asyncio.create_task(_keep_running(name, work), name=name)
    try:
        yield
    finally:
        # More than once: Python 3.11's wait_for, which aiopg uses, can swallow a cancellation that meets a result.
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_INTERVAL_SECONDS)


async def _keep_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    pause_seconds = FIRST_PAUSE_SECONDS
    while True:
        started = loop.time()
        try:
            await work()
            log.error("task.ended", task=name, restart_in_seconds=pause_seconds)
        except Exception:
            log.exception("task.died", task=name, restart_in_seconds=pause_seconds)
        if loop.time() - started > 60:
            pause_seconds = FIRST_PAUSE_SECONDS
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)

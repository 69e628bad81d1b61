"""Waiting for what comes by itself, with a deadline."""

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Raises TimeoutError when it does not come to hold in time."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.002)

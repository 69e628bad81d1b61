"""Health: `/health/live` (the process runs) and `/health/ready` (it can serve; what is degraded is named)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

CHECK_TIMEOUT_SECONDS = 1.0


class Check(msgspec.Struct, frozen=True):
    """One thing a service leans on. `is_well` may raise; an essential one that fails makes the service not ready."""

    is_well: Callable[[], Awaitable[bool]]
    essential: bool = False
    details: Callable[[], dict[str, Any]] | None = None
    """What there is to say where it is not well, as JSON; asked after `is_well`."""


CHECKS = web.AppKey("checks", dict[str, Check])


async def get_live(_request: web.Request) -> web.Response:
    """200 as long as the event loop turns."""
    return web.json_response({"status": "live"})


async def get_ready(request: web.Request) -> web.Response:
    """200 with `degraded: [names]` and what `details` they have; 503 when something essential is among them."""
    checks = request.app[CHECKS]
    results = await asyncio.gather(*(_is_well(check) for check in checks.values()))
    degraded = [name for name, well in zip(checks, results, strict=True) if not well]
    ready = not any(checks[name].essential for name in degraded)
    told = {name: details() for name in degraded if (details := checks[name].details)}
    return web.json_response(
        {"status": "ready" if ready else "not_ready", "degraded": degraded, **({"details": told} if told else {})},
        status=200 if ready else 503,
        headers={"Cache-Control": "no-store"},
    )


async def _is_well(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await check.is_well()
    except Exception:  # noqa: BLE001 - whatever a check raises, what it checks is not well
        return False

"""The imitation as one application: the API, the pages, the log of requests, faults, and the paths that steer it."""

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from local.imitation_github import rest, web_pages
from local.imitation_github.creation import make_world
from local.imitation_github.faults import PAGE_KINDS, fault_from
from local.imitation_github.newcomers import Newcomers
from local.imitation_github.state import ENTRY, PAGE_FAULT, STATE, Clock, State

SEED = 20260101
_STEERING = "/_imitation/"
_TOKEN = re.compile(r"gh[a-z]_\w+|github_pat_\w+")


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def make_app(
    *, seed: int = SEED, clock: Clock = system_clock, newcomer_every: timedelta | None = None
) -> web.Application:
    """The imitation as an application of its own; the same seed and time give the same answers.

    Every `newcomer_every` a new Rust repository trends.
    """
    app = web.Application(middlewares=[_log, _faults])
    world = make_world(seed)
    app[STATE] = State(world, clock, Newcomers(world, newcomer_every, clock()) if newcomer_every else None)
    app.router.add_post("/_imitation/releases", _publish_release)
    app.router.add_get("/_imitation/requests", _get_requests)
    app.router.add_delete("/_imitation/requests", _clear_requests)
    app.router.add_get("/_imitation/faults", _get_faults)
    app.router.add_post("/_imitation/faults", _add_fault)
    app.router.add_delete("/_imitation/faults", _clear_faults)
    app.router.add_delete("/_imitation/limits", _clear_limits)
    web_pages.add_routes(app)
    rest.add_routes(app)
    return app


@web.middleware
async def _log(request: web.Request, handler: Any) -> web.StreamResponse:
    """Note what was asked, before it is answered: a request that never ends is noted, too."""
    if request.path.startswith(_STEERING):
        return await handler(request)  # type: ignore[no-any-return]
    state = request.app[STATE]
    if state.newcomers is not None:
        state.newcomers.arrive(state.clock())
    path, _, query = request.raw_path.partition("?")
    entry: dict[str, Any] = {
        "at": state.clock().isoformat(),
        "method": request.method,
        "path": _TOKEN.sub("TOKEN", path),
        "query": _TOKEN.sub("TOKEN", query),
        "identity": "unread" if "Authorization" in request.headers else "anonymous",
        "accept": request.headers.get("Accept"),
        "conditional": "If-None-Match" in request.headers or "If-Modified-Since" in request.headers,
        "fault": None,
        "status": None,
    }
    state.log.append(entry)
    request[ENTRY] = entry
    response: web.StreamResponse = await handler(request)
    if entry["fault"] != "reset":
        entry["status"] = response.status
    return response


@web.middleware
async def _faults(request: web.Request, handler: Any) -> web.StreamResponse:
    state = request.app[STATE]
    fault = None if request.path.startswith(_STEERING) else state.faults.meet(request.raw_path)
    if fault is None:
        return await handler(request)  # type: ignore[no-any-return]
    request[ENTRY]["fault"] = fault.kind
    if fault.kind in PAGE_KINDS:
        request[PAGE_FAULT] = fault.kind
        return await handler(request)  # type: ignore[no-any-return]
    return await state.faults.happen(fault, request, handler, state.clock())


async def _get_requests(request: web.Request) -> web.Response:
    return web.json_response(list(request.app[STATE].log))


async def _clear_requests(request: web.Request) -> web.Response:
    request.app[STATE].log.clear()
    return web.Response(status=204)


async def _get_faults(request: web.Request) -> web.Response:
    return web.json_response([asdict(fault) for fault in request.app[STATE].faults.all()])


async def _add_fault(request: web.Request) -> web.Response:
    try:
        fault = fault_from(json.loads(await request.read()))
    except ValueError as error:
        return web.json_response({"message": str(error)}, status=422)
    request.app[STATE].faults.add(fault)
    return web.json_response(asdict(fault), status=201)


async def _publish_release(request: web.Request) -> web.Response:
    state = request.app[STATE]
    try:
        number = state.releases.publish(state.world, json.loads(await request.read()), state.clock())
    except ValueError as error:
        return web.json_response({"message": str(error)}, status=422)
    return web.json_response({"id": number}, status=201)


async def _clear_faults(request: web.Request) -> web.Response:
    request.app[STATE].faults.clear()
    return web.Response(status=204)


async def _clear_limits(request: web.Request) -> web.Response:
    request.app[STATE].limits.clear()
    return web.Response(status=204)

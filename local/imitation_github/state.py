"""What one running imitation holds: its world, its clock, and what changes while it runs."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

from local.imitation_github.faults import Faults
from local.imitation_github.limits import Limits
from local.imitation_github.newcomers import Newcomers
from local.imitation_github.releases import Releases
from local.imitation_github.world import World

LOG_LIMIT = 10_000
Clock = Callable[[], datetime]
"""The time, with its zone."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything that the handlers share."""

    world: World
    clock: Clock
    newcomers: Newcomers | None = None
    releases: Releases = field(default_factory=Releases)
    limits: Limits = field(default_factory=Limits)
    faults: Faults = field(default_factory=Faults)
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LOG_LIMIT))


STATE = web.AppKey("state", State)
ENTRY = web.RequestKey("entry", dict[str, Any])
"""The request's line in the log; handlers add whose request it is."""
PAGE_FAULT = web.RequestKey("page_fault", str)
"""A fault that the handler of a page has to make itself."""


def base_url(request: web.Request) -> str:
    """The address under which the imitation was reached: what it links to can be reached the same way."""
    return f"{request.scheme}://{request.host}"

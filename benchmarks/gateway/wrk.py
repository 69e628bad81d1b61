"""wrk: one run of it, and what it says."""

import asyncio
import re
from pathlib import Path
from typing import NamedTuple

from benchmarks.driver import UnexpectedAnswer
from benchmarks.gateway.callers import CALLERS

SCRIPT = """
local callers, asked, counted = {}, 0, false

function init(arguments)
    counted = arguments[1] == "counted"
    for number = 1, CALLERS do
        local caller = "\\r\\nX-Forwarded-For: 10.0.0." .. number
        callers[number] = " HTTP/1.1\\r\\nHost: " .. wrk.headers["Host"] .. caller .. "\\r\\n\\r\\n"
    end
end

function request()
    asked = asked + 1
    return "GET " .. wrk.path .. (counted and asked or "") .. callers[asked % CALLERS + 1]
end
""".replace("CALLERS", str(CALLERS))
"""Requests come from many callers, as a proxy before the gateway tells; `counted`, each is for a path of its own: the
URL's and a number, from 1 in each run."""
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class Run(NamedTuple):
    """What wrk saw: complete answers, and how long they took."""

    requests: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float


async def run_wrk(url: str, *, connections: int, seconds: float, script: Path, is_counted: bool = False) -> Run:
    """Ask for a URL over so many connections, each sending its next request when its answer is there.

    Raises UnexpectedAnswer when an answer is not 2xx or a connection fails.
    """
    arguments = ["-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script)]
    child = await asyncio.create_subprocess_exec(
        "wrk",
        *arguments,
        url,
        *(["--", "counted"] if is_counted else []),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await child.communicate()
    if child.returncode != 0:
        raise UnexpectedAnswer(f"wrk: {told.decode(errors='replace')[-500:]}")
    return read_run(told.decode())


def read_run(told: str) -> Run:
    """What wrk printed with --latency. Raises UnexpectedAnswer for a run that may not count."""
    for trouble in ("Non-2xx", "Socket errors"):
        if found := re.search(rf"{trouble}[^\n]*", told):
            raise UnexpectedAnswer(f"wrk: {found[0]}")
    requests = re.search(r"(\d+) requests in", told)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    if requests is None or rate is None:
        raise UnexpectedAnswer(f"wrk: {told[-500:]}")
    return Run(int(requests[1]), float(rate[1]), _percentile_ms(told, 50), _percentile_ms(told, 99))


def _percentile_ms(told: str, percent: int) -> float:
    found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\b", told)
    if found is None:
        raise UnexpectedAnswer(f"wrk: {told[-500:]}")
    return float(found[1]) * _SECONDS[found[2]] * 1000

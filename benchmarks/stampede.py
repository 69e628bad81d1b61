"""How often GitHub is asked when a crowd asks for what nobody has a copy of."""

from collections import Counter
from collections.abc import Mapping
from statistics import median

import aiohttp

from benchmarks.driver import Load, rush
from benchmarks.system import Ground, Replicas
from benchmarks.table import format_table, say
from local.imitation_github.app import SEED
from local.imitation_github.creation import make_world
from local.imitation_github.world import Repository

CLIENTS, REPLICAS = 1_000, 3
GITHUB_SECONDS = 0.2
"""The imitation takes its time, as GitHub does: whoever comes meanwhile must find somebody asking already."""
CASES: Mapping[str, str] = {"repository": "", "repository with README": "?include=readme"}
COLUMNS = ("asked for", "of GitHub", "requests", "fewest calls", "most calls", "median ms", "slowest ms")


async def measure_stampede(ground: Ground, rounds: int) -> str:
    """A table of calls for each resource of GitHub's. Real repo-services over HTTP, each a process, on one Postgres.

    Every client has a connection of its own, opened before; all requests are sent at the same moment, a third of them
    to each replica, for a repository that is another one in each round. An answer other than 200 ends the benchmark.
    """
    fresh = iter([one for one in make_world(SEED).repositories if not one.private and one.readme == "README.md"])
    rows = []
    say("stampede: starting the replicas")
    async with ground.running_replicas(REPLICAS) as replicas, aiohttp.ClientSession(replicas.github_url) as github:
        slow = {"match": "/repos/", "kind": "slow", "seconds": GITHUB_SECONDS}
        async with github.post("/_imitation/faults", json=slow) as response:
            response.raise_for_status()
        for case, query in CASES.items():
            calls: dict[str, list[int]] = {"repository": [], "readme": []} if query else {"repository": []}
            loads = []
            for number in range(rounds):
                say(f"stampede: {case}, round {number + 1} of {rounds}")
                repository = next(fresh)
                loads.append(await _rush(replicas, f"/v1/repositories/{repository.full_name}{query}"))
                asked = await _asked(github, repository)
                for resource, times in calls.items():
                    times.append(asked[resource])
            rows += _rows(case, calls, loads)
    return format_table(
        f"Stampede: {CLIENTS} clients at once, {REPLICAS} replicas, GitHub takes {GITHUB_SECONDS * 1000:g} ms;"
        f" {rounds} rounds; aim: 1 call",
        COLUMNS,
        rows,
    )


async def _rush(replicas: Replicas, target: str) -> Load:
    return await rush([f"{replicas.urls[number % REPLICAS]}{target}" for number in range(CLIENTS)])


async def _asked(github: aiohttp.ClientSession, repository: Repository) -> Counter[str]:
    """How often the imitation was asked for the repository and for its README."""
    path = f"/repos/{repository.full_name}".lower()
    names = {path: "repository", f"{path}/readme": "readme"}
    async with github.get("/_imitation/requests") as response:
        return Counter(names[entry["path"]] for entry in await response.json() if entry["path"] in names)


def _rows(case: str, calls: Mapping[str, list[int]], loads: list[Load]) -> list[list[str]]:
    middle = median(load.percentile_ms(50) for load in loads)
    slowest = max(load.percentile_ms(100) for load in loads)
    return [
        [case, resource, str(CLIENTS), str(min(times)), str(max(times)), f"{middle:.0f}", f"{slowest:.0f}"]
        for resource, times in calls.items()
    ]

"""What the gateway costs: one request through gateway and service, beside the same request to the service itself."""

from benchmarks.load import Way, compare
from benchmarks.system import RunningSystem

PATH = "/trending-languages"
"""Answered from memory: no GitHub, no database, 9 kB."""
CONCURRENCIES = (1, 32)


async def measure_hop(system: RunningSystem, rounds: int) -> str:
    """A table for each concurrency."""
    processes = [system.process_ids["repo-service"], system.process_ids["gateway"]]
    ways = {
        "service alone": Way(f"{system.repo_service_url}{PATH}", processes),
        "through gateway": Way(f"{system.gateway_url}/gitter{PATH}", processes),
    }
    tables = [
        await compare(f"GET {PATH}", ways, ["service", "gateway"], concurrency=concurrency, rounds=rounds)
        for concurrency in CONCURRENCIES
    ]
    return "\n".join(tables)

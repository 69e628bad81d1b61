"""Who asks for what when, drawn from a seed, and the least that answering it can cost. Pure.

GitHub charges a point for an answer and none for a 304, so a cost is a number of answers that differ from the last.
"""

import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple


class Request(NamedTuple):
    """One request: `resource` is a popularity rank from 0, `replica` who is asked."""

    seconds: int
    resource: int
    replica: int


VersionAt = Callable[[int, int], Hashable]
"""A resource (its rank) and a moment (seconds) → what its answer is then; equal means that GitHub would say 304."""


def zipf(exponent: float, count: int) -> list[float]:
    """The share of each of `count` ranks, most asked for first: proportional to 1 / (rank + 1) ** exponent."""
    weights = [rank**-exponent for rank in range(1, count + 1)]
    whole = sum(weights)
    return [weight / whole for weight in weights]


def draw_demand(
    *, seed: int, count: int, shares: Sequence[float], seconds: int, step_seconds: int, replicas: int
) -> list[Request]:
    """`count` requests in order of time, spread evenly over `seconds` from 0, in whole steps, over all replicas."""
    chance = random.Random(seed)
    ranks = chance.choices(range(len(shares)), cum_weights=list(accumulate(shares)), k=count)
    moments = sorted(chance.randrange(seconds // step_seconds) * step_seconds for _ in range(count))
    return [Request(at, rank, chance.randrange(replicas)) for at, rank in zip(moments, ranks, strict=True)]


def visible_changes(demand: Iterable[Request], version_at: VersionAt) -> int:
    """Each resource once, then once for each change that a request could have seen.

    A change counts when some request comes at or after it and before the next one: a cache that always answers with
    what GitHub would say now, and knows by a miracle when to ask, costs just this.
    """
    return visible_changes_once_in(demand, version_at, lifetime_seconds=0)


def visible_changes_once_in(demand: Iterable[Request], version_at: VersionAt, lifetime_seconds: int) -> int:
    """The same, where an answer may be given again for so long: changes within that time are seen as one, or never.

    It is what one cache costs that asks whenever a request finds its copy as old as its lifetime, with the copy's ETag.
    """
    confirmed: dict[int, tuple[int, Hashable]] = {}
    cost = 0
    for at, resource, _ in demand:
        known = confirmed.get(resource)
        if known is not None and at - known[0] < lifetime_seconds:
            continue
        version = version_at(resource, at)
        cost += known is None or known[1] != version
        confirmed[resource] = (at, version)
    return cost

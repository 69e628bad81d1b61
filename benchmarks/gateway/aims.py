"""What is wanted of the gateway, and whether a figure is there. Pure."""

from typing import NamedTuple


class Aim(NamedTuple):
    """A figure that should be at least, or at most, `wanted`; `limit` is what it may never be worse than."""

    what: str
    wanted: float
    limit: float
    at_least: bool = True
    unit: str = ""

    def row(self, figure: float | None) -> list[str]:
        """A row of the table: what, figure, aim, limit, verdict; None for what could not be measured."""
        sign = "≥" if self.at_least else "≤"
        told = "–" if figure is None else f"{figure:.2f}{self.unit}"
        aim, limit = (f"{bound:g}{self.unit}" for bound in (self.wanted, self.limit))
        return [self.what, told, f"{sign} {aim}", limit, self.verdict(figure)]

    def verdict(self, figure: float | None) -> str:
        """In a word or two."""
        if figure is None:
            return "not measured"
        if self._is_within(figure, self.wanted):
            return "met"
        return "missed, within the limit" if self._is_within(figure, self.limit) else "missed"

    def _is_within(self, figure: float, bound: float) -> bool:
        return figure >= bound if self.at_least else figure <= bound


HIT_RATE = Aim("hit, requests/s ÷ bare aiohttp", 1.9, 1.2)
HIT_CPU = Aim("hit, CPU ÷ nginx proxy_cache", 1.0, 1.5, at_least=False)
MISS_RATE = Aim("miss, requests/s ÷ bare aiohttp", 0.5, 0.4)
MISS_NAIVE = Aim("miss, requests/s ÷ naive aiohttp proxy", 2.2, 1.4)
HIT_FLASK = Aim("hit, requests/s ÷ Flask + gunicorn", 11, 8)
MISS_FLASK = Aim("miss, requests/s ÷ Flask + gunicorn", 3, 2)
ADDED = Aim("added p50, one request at a time", 0.13, 0.2, at_least=False, unit=" ms")
HIT_TAIL = Aim("hit, p99 ÷ p50 at half of capacity", 3, 5, at_least=False)
MISS_TAIL = Aim("miss, p99 ÷ p50 at half of capacity", 3, 5, at_least=False)
CONNECTION = Aim("memory of an idle connection", 12, 25, at_least=False, unit=" KB")
SOAK = Aim("growth of memory after the first minute", 1, 3, at_least=False, unit=" %")
AIMS = (
    HIT_RATE, HIT_CPU, MISS_RATE, MISS_NAIVE, ADDED, HIT_FLASK, MISS_FLASK, HIT_TAIL, MISS_TAIL, CONNECTION, SOAK
)  # fmt: skip

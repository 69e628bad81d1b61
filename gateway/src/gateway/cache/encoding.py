"""Content codings: which of ours a caller prefers (RFC 9110, 12.5.3). Pure."""

from functools import lru_cache

BR, GZIP, IDENTITY = "br", "gzip", "identity"
_BY_PREFERENCE = (BR, GZIP)
_LIMIT_CHARACTERS = 256
"""No browser sends more; it bounds what is remembered."""


def preferred_encoding(accept_encoding: str) -> str:
    """Of br, gzip and identity the one that the caller weighs most, the smaller answer where it weighs two the same."""
    return _preferred(accept_encoding[:_LIMIT_CHARACTERS])


@lru_cache(maxsize=1024)
def _preferred(accept_encoding: str) -> str:
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        name, *parameters = (one.strip() for one in part.split(";"))
        if name:
            weights[name] = _weight(parameters)
    everything_else = weights.get("*", 0.0)
    best, best_weight = IDENTITY, 0.0
    for encoding in _BY_PREFERENCE:
        weight = weights.get(encoding, everything_else)
        if weight > best_weight:
            best, best_weight = encoding, weight
    return best if best_weight >= weights.get(IDENTITY, 0.0) else IDENTITY


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0

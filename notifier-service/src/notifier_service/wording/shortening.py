"""Shortening text without cutting what a reader takes for one character. Pure."""

import regex

ELLIPSIS = "…"
_CLUSTER = regex.compile(r"\X")


def shortened(text: str, units: int) -> str:
    """At most so many UTF-16 units, never ending inside what a reader takes for one character (UAX 29)."""
    if _units(text) <= units:
        return text
    kept: list[str] = []
    left = units - _units(ELLIPSIS)
    for cluster in _CLUSTER.findall(text):
        left -= _units(cluster)
        if left < 0:
            break
        kept.append(cluster)
    return "".join(kept).rstrip() + ELLIPSIS


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2

"""CORS: a page from any origin may read every answer; nothing here depends on cookies."""

from collections.abc import Iterable

ON_EVERY_ANSWER = (
    ("Access-Control-Allow-Origin", "*"),
    (
        "Access-Control-Expose-Headers",
        "Max-Page, Link, ETag, Cache-Status, X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, Age",
    ),
)
# By name: "*" does not cover Authorization (Fetch standard, "CORS-non-wildcard request-header name").
_ALLOWED_HEADERS = "authorization, accept, content-type, if-none-match, x-request-id"
_PREFLIGHT_LIFETIME_SECONDS = 86_400


def preflight_headers(methods: Iterable[str]) -> list[tuple[str, str]]:
    """What a path that takes these methods, and OPTIONS, says to a preflight request."""
    allowed = ", ".join(sorted({*methods, "OPTIONS"}))
    return [
        ("Allow", allowed),
        ("Access-Control-Allow-Methods", allowed),
        ("Access-Control-Allow-Headers", _ALLOWED_HEADERS),
        ("Access-Control-Max-Age", str(_PREFLIGHT_LIFETIME_SECONDS)),
    ]

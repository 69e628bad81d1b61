"""The public endpoints: which service answers each, within which limits. What is not in this table is not there."""

import re
from enum import StrEnum
from typing import NamedTuple

ORIGINAL_PREFIX = "/gitter"
"""The first client's paths come with this prefix in production and without it in development; services know none."""
BODY_LIMIT_BYTES = 64 * 1024
ANSWER_TIMEOUT_SECONDS = 15.0
"""Until an answer's head has come; a service's own call to GitHub ends at 12 s."""


class Service(StrEnum):
    """The services behind the gateway, by the name that callers and logs read."""

    REPO = "repo-service"
    DEVELOPER = "developer-service"
    SEARCH = "search-service"
    NOTIFIER = "notifier-service"


class Route(NamedTuple):
    """A public endpoint; `original` ones are the first client's, and exist under its prefix as well."""

    path: str
    service: Service
    original: bool = False
    methods: tuple[str, ...] = ("GET", "HEAD")
    parameters: frozenset[str] = frozenset()
    """The query parameters its answer depends on, as services know them; an answer that is shared knows no others."""
    rate_class: str = "default"
    timeout_seconds: float = ANSWER_TIMEOUT_SECONDS
    body_limit_bytes: int = BODY_LIMIT_BYTES

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What may stand before the path; it is taken off before the request goes on."""
        return ("", ORIGINAL_PREFIX) if self.original else ("",)


class Match(NamedTuple):
    """The endpoint that a path names."""

    route: Route
    path: str
    """As the service knows it: without a prefix."""


_PAGE = frozenset({"page"})
_TRENDING = frozenset({"since", "language"})
_V1_TRENDING = _TRENDING | {"spoken_language_code", "new_only", "on"}
_HISTORY = _TRENDING | {"spoken_language_code", "page"}
_SEARCH = frozenset({"q", "sort", "order", "page"})
ROUTES = (
    Route("/trending-repositories", Service.REPO, original=True, parameters=_TRENDING),
    Route("/trending-languages", Service.REPO, original=True),
    Route("/repositories", Service.REPO, original=True, parameters=frozenset({"owner", "name"})),
    Route("/trending-developers", Service.DEVELOPER, original=True, parameters=_TRENDING),
    Route("/developers", Service.DEVELOPER, original=True, parameters=frozenset({"name"})),
    Route("/developers/{login}/events", Service.DEVELOPER, original=True, parameters=_PAGE),
    Route(
        "/search/repositories",
        Service.SEARCH,
        original=True,
        parameters=frozenset({"name", "page"}),
        rate_class="search",
    ),
    Route("/v1/trending/repositories", Service.REPO, parameters=_V1_TRENDING),
    Route("/v1/trending/repositories/{owner}/{name}/history", Service.REPO, parameters=_HISTORY),
    Route("/v1/trending/languages", Service.REPO),
    Route("/v1/repositories/{owner}/{name}", Service.REPO, parameters=frozenset({"include"})),
    Route("/v1/repositories/{owner}/{name}/readme", Service.REPO, parameters=frozenset({"format"})),
    Route("/v1/trending/developers", Service.DEVELOPER, parameters=_V1_TRENDING),
    Route("/v1/developers/{login}", Service.DEVELOPER),
    Route("/v1/developers/{login}/events", Service.DEVELOPER, parameters=_PAGE),
    Route("/v1/developers/{login}/received-events", Service.DEVELOPER, parameters=_PAGE),
    Route("/v1/me", Service.DEVELOPER),
    Route("/v1/search/repositories", Service.SEARCH, parameters=_SEARCH, rate_class="search"),
    Route("/v1/search/developers", Service.SEARCH, parameters=_SEARCH, rate_class="search"),
    Route(
        "/v1/subscriptions",
        Service.NOTIFIER,
        methods=("GET", "HEAD", "POST"),
        parameters=frozenset({"topic", "channel", "page"}),
    ),
    Route("/v1/subscriptions/{id}", Service.NOTIFIER, methods=("GET", "HEAD", "PATCH", "DELETE")),
    Route("/v1/subscriptions/{id}/confirm", Service.NOTIFIER, methods=("POST",)),
    Route("/v1/subscriptions/{id}/rotate-secret", Service.NOTIFIER, methods=("POST",)),
    Route("/v1/notifications", Service.NOTIFIER, parameters=frozenset({"state", "topic", "endpoint", "page"})),
    Route("/v1/notifications/{id}", Service.NOTIFIER),
    Route("/v1/notifications/{id}/retry", Service.NOTIFIER, methods=("POST",)),
    Route("/v1/wechat/push", Service.NOTIFIER, methods=("GET", "HEAD", "POST")),
)


class RouteTable:
    """Finds a path's endpoint: a fixed path by itself, one with placeholders by one pattern made of all of them."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._fixed: dict[str, Match] = {}
        self._with_placeholders: list[tuple[str, Route]] = []
        patterns = []
        for route in routes:
            for prefix in route.prefixes:
                if "{" not in route.path:
                    self._fixed[prefix + route.path] = Match(route, route.path)
                    continue
                self._with_placeholders.append((prefix, route))
                patterns.append("(" + re.sub(r"\\{\w+\\}", "[^/]+", re.escape(prefix + route.path)) + ")")
        self._pattern = re.compile("|".join(patterns) or r"(?!)")

    def find(self, path: str) -> Match | None:
        """The endpoint of an undecoded path, which `check_target` is yet to accept; None where there is none."""
        match = self._fixed.get(path)
        if match is not None:
            return match
        found = self._pattern.fullmatch(path)
        if found is None or found.lastindex is None:
            return None
        prefix, route = self._with_placeholders[found.lastindex - 1]
        return Match(route, path[len(prefix) :])

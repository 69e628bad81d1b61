"""The public endpoints: which service answers each. What is not in this table is not reachable from outside."""

from enum import StrEnum
from typing import NamedTuple

ORIGINAL_PREFIX = "/gitter"
"""The first client's paths come with this prefix in production and without it in development; services know none."""


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

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What may stand before the path; it is taken off before the request goes on."""
        return ("", ORIGINAL_PREFIX) if self.original else ("",)


ROUTES = (
    Route("/trending-repositories", Service.REPO, original=True),
    Route("/trending-languages", Service.REPO, original=True),
    Route("/repositories", Service.REPO, original=True),
    Route("/trending-developers", Service.DEVELOPER, original=True),
    Route("/developers", Service.DEVELOPER, original=True),
    Route("/developers/{login}/events", Service.DEVELOPER, original=True),
    Route("/search/repositories", Service.SEARCH, original=True),
    Route("/v1/trending/repositories", Service.REPO),
    Route("/v1/trending/repositories/{owner}/{name}/history", Service.REPO),
    Route("/v1/trending/languages", Service.REPO),
    Route("/v1/repositories/{owner}/{name}", Service.REPO),
    Route("/v1/repositories/{owner}/{name}/readme", Service.REPO),
    Route("/v1/trending/developers", Service.DEVELOPER),
    Route("/v1/developers/{login}", Service.DEVELOPER),
    Route("/v1/developers/{login}/events", Service.DEVELOPER),
    Route("/v1/developers/{login}/received-events", Service.DEVELOPER),
    Route("/v1/me", Service.DEVELOPER),
    Route("/v1/search/repositories", Service.SEARCH),
    Route("/v1/search/developers", Service.SEARCH),
)

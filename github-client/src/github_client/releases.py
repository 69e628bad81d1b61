"""A repository's releases as everybody may see them, asked for in the background."""

from datetime import datetime
from urllib.parse import quote

import msgspec

from github_client.client import GitHubClient, NotModified, Validator
from github_client.models import Repository
from github_client.rest import decode, may_be_private
from service_kit.errors import NotFound

PER_PAGE = 30
"""A release may have megabytes of notes and files."""


class Release(msgspec.Struct, frozen=True):
    """A release. Times are UTC; `published_at` is null for a draft."""

    id: int
    tag_name: str
    html_url: str
    draft: bool
    prerelease: bool
    name: str | None = None
    body: str | None = None
    """Markdown."""
    published_at: datetime | None = None


class ReleasePage(msgspec.Struct, frozen=True):
    """A page of releases, newest first, and what to ask with for the next one that differs."""

    releases: list[Release]
    validator: Validator | None
    may_be_private: bool
    """Whether who was shown it could see it were the repository private."""


async def fetch_releases(
    github: GitHubClient, repository: str, validator: Validator | None = None, page: int = 1
) -> ReleasePage | None:
    """A page of `owner/name`'s releases; None while the one that `validator` came with is current.

    Raises as `GitHubClient.get`, and UpstreamFault for what is no list of releases.
    """
    reply = await github.get(
        f"{_path(repository)}/releases",
        {"per_page": PER_PAGE, "page": page},
        caller=None,
        validator=validator,
        purpose="background",
    )
    if isinstance(reply, NotModified):
        return None
    releases: list[Release] = decode(reply.body, list[Release])
    kept = Validator(reply.etag, reply.credential.identity) if reply.etag else None
    return ReleasePage(releases, kept, may_be_private(reply))


async def check_is_public(github: GitHubClient, repository: str) -> None:
    """Raises NotFound for a private repository, else as `GitHubClient.get`."""
    reply = await github.get(_path(repository), caller=None, purpose="background")
    if decode(reply.body, Repository).private:
        raise NotFound("GitHub has no such thing, or does not show it.")


def _path(repository: str) -> str:
    owner, _, name = repository.partition("/")
    return f"/repos/{quote(owner)}/{quote(name)}"

"""GitHub's objects as we read them: the fields we use, decoded strictly enough that a wrong body is noticed."""

from datetime import datetime
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Owner(msgspec.Struct, frozen=True):
    """The user or organisation that a repository belongs to."""

    login: str
    avatar_url: str
    type: str = "User"


class License(msgspec.Struct, frozen=True):
    """A licence as GitHub recognised it; `spdx_id` is `NOASSERTION` where it did not."""

    key: str
    name: str
    spdx_id: str | None = None


class Repository(msgspec.Struct, frozen=True):
    """A repository. Times are UTC; counts are of now; `size_kib` is the Git repository's size on GitHub's disks."""

    id: int
    name: str
    full_name: str
    owner: Owner
    private: bool
    html_url: str
    description: str | None
    fork: bool
    stargazers_count: int
    forks_count: int
    open_issues_count: int
    """Issues and pull requests together, as GitHub counts."""
    default_branch: str
    created_at: datetime
    updated_at: datetime
    pushed_at: datetime | None = None
    language: str | None = None
    homepage: str | None = None
    license: License | None = None
    topics: tuple[str, ...] = ()
    archived: bool = False
    size_kib: int | None = msgspec.field(default=None, name="size")
    subscribers_count: int | None = None
    """Watchers; absent in search results."""


class Developer(msgspec.Struct, frozen=True):
    """A user or an organisation. `email` and all other texts are as the profile shows them; times are UTC."""

    login: str
    id: int
    avatar_url: str
    html_url: str
    type: str
    public_repos: int
    followers: int
    following: int
    created_at: datetime
    name: str | None = None
    bio: str | None = None
    company: str | None = None
    blog: str | None = None
    location: str | None = None
    email: str | None = None


class FoundDeveloper(msgspec.Struct, frozen=True):
    """A user or an organisation in a search result."""

    login: str
    id: int
    avatar_url: str
    html_url: str
    type: str


class Actor(msgspec.Struct, frozen=True):
    """Who did it. `display_login` is how GitHub shows the login; old events lack it."""

    login: str
    avatar_url: str = ""
    display_login: str | None = None


class EventRepository(msgspec.Struct, frozen=True):
    """Where it happened: `name` is `owner/name`."""

    name: str


class EventPayload(msgspec.Struct, frozen=True):
    """The parts of a payload that several event types share; GitHub cut the rest down in October 2025."""

    action: str | None = None
    ref: str | None = None
    ref_type: str | None = None


class Event(msgspec.Struct, frozen=True):
    """Something that happened on GitHub, told with 30 s to 6 h of delay. `created_at` is UTC."""

    id: str
    type: str
    created_at: datetime
    actor: Actor
    repo: EventRepository
    public: bool = True
    payload: EventPayload = EventPayload()


class SearchResult(msgspec.Struct, Generic[T], frozen=True):
    """One page of 30. `total_count` may exceed the 1,000 that GitHub serves, and drifts."""

    total_count: int
    items: list[T]
    incomplete_results: bool = False

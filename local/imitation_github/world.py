"""Who and what there is: people, organisations and repositories, the same for the same seed, wherever and whenever."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Counts in the world are those of this moment; they grow from here."""
OWNER_LOGIN, READER_LOGIN, SECOND_READER_LOGIN = "mira-tallow", "tobin-varga", "liuyunhe"
INACTIVE_LOGIN = "blank-slate"
"""Somebody who has never done anything."""
ORGANIZATION_LOGIN = "lantern-labs"
RENAMED = {
    "mira-tallow/old-lantern": "mira-tallow/lantern",
    "tin-works/kettle": "lantern-labs/kettle",
}
"""Former name → present name: one repository renamed, one given to another owner."""

ReadmeKind = Literal["README.md", "readme.rst", "docs/README.md", "README", "large", "missing"]


@dataclass(frozen=True, slots=True)
class Account:
    """A user or an organisation; counts are those of EPOCH."""

    id: int
    login: str
    type: Literal["User", "Organization"]
    name: str | None = None
    bio: str | None = None
    company: str | None = None
    blog: str = ""
    location: str | None = None
    email: str | None = None
    followers: int = 0
    following: int = 0
    created_at: datetime = datetime(2019, 5, 4, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository; counts are those of EPOCH. `spoken` is the ISO 639-1 code of its description's language."""

    id: int
    owner: Account
    name: str
    description: str | None
    spoken: str | None
    language: str | None
    topics: tuple[str, ...]
    license: tuple[str, str, str] | None
    """Key, name, SPDX identifier."""
    homepage: str | None
    stars: int
    stars_per_day: float
    """0 for those that never trend."""
    forks: int
    open_issues: int
    subscribers: int
    size_kib: int
    created_at: datetime
    contributors: tuple[Account, ...]
    bot: str | None
    """A bot among the contributors."""
    readme: ReadmeKind
    default_branch: str = "main"
    fork: bool = False
    archived: bool = False
    private: bool = False
    arrived_at: datetime | None = None
    """When it began to trend, for one that came while the imitation runs."""

    @property
    def full_name(self) -> str:
        """`owner/name`."""
        return f"{self.owner.login}/{self.name}"


def draw(*parts: object) -> float:
    """A number from 0 up to 1 that only the parts decide."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class World:
    """All accounts and repositories. Names are looked up without regard to case, as GitHub does."""

    def __init__(self, seed: int, accounts: Sequence[Account], repositories: Sequence[Repository]) -> None:
        self.seed = seed
        self.accounts = tuple(accounts)
        self.repositories = list(repositories)
        self._people = [account for account in accounts if account.type == "User"]
        self._account_by_login = {account.login.lower(): account for account in accounts}
        self._account_by_id = {account.id: account for account in accounts}
        self._repository_by_id = {repository.id: repository for repository in repositories}
        self._repository_by_name = {repository.full_name.lower(): repository for repository in repositories}
        self._owned: dict[str, list[Repository]] = {}
        for repository in repositories:
            self._owned.setdefault(repository.owner.login, []).append(repository)

    def add(self, repository: Repository) -> None:
        """A repository that nobody had before; one whose id is known is there already."""
        if repository.id not in self._repository_by_id:
            self.repositories.append(repository)
            self._repository_by_id[repository.id] = repository
            self._repository_by_name[repository.full_name.lower()] = repository
            self._owned.setdefault(repository.owner.login, []).append(repository)

    def account(self, login: str) -> Account | None:
        """The user or organisation of this login."""
        return self._account_by_login.get(login.lower())

    def account_with_id(self, number: int) -> Account | None:
        """The user or organisation with this id."""
        return self._account_by_id.get(number)

    def repository(self, owner: str, name: str) -> Repository | None:
        """The repository that has this name now."""
        return self._repository_by_name.get(f"{owner}/{name}".lower())

    def repository_with_id(self, number: int) -> Repository | None:
        """The repository with this id."""
        return self._repository_by_id.get(number)

    def renamed(self, owner: str, name: str) -> Repository | None:
        """The repository that once had this name."""
        present = RENAMED.get(f"{owner}/{name}".lower())
        return self._repository_by_name[present] if present else None

    def owned_by(self, account: Account) -> Sequence[Repository]:
        """All repositories of an account, private ones too."""
        return self._owned.get(account.login, ())

    def followed_by(self, account: Account) -> list[Account]:
        """The people whose doings an account receives; never none."""
        count = 5 + int(draw(self.seed, account.login, "follows") * 20)
        picks = {int(draw(self.seed, account.login, place) * len(self._people)) for place in range(count)}
        return [self._people[pick] for pick in sorted(picks)]

"""Search: what `q` means, and who or what it finds. Pure."""

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from local.imitation_github.objects import View, account_updated_at
from local.imitation_github.pulse import pushed_at, stars_at, updated_at
from local.imitation_github.world import Account, Repository

QUERY_LIMIT_CHARACTERS = 256
OPERATOR_LIMIT = 5
RESULT_LIMIT = 1000
_QUALIFIER = re.compile(r"(-?)([a-z-]+):(.+)", re.IGNORECASE)
_RANGE = re.compile(r"(?P<sign>>=|<=|>|<|)(?P<low>[\w:-]+|\*)(?:\.\.(?P<high>[\w:-]+|\*))?")
Found = TypeVar("Found", Repository, Account)
Bound = TypeVar("Bound", int, str)


class Invalid(Exception):
    """GitHub refuses this query; the message is its own."""


@dataclass(frozen=True, slots=True)
class Query:
    """Words that must all occur, and qualifiers: (is negated, name, value)."""

    words: tuple[str, ...]
    qualifiers: tuple[tuple[bool, str, str], ...]


def parse(text: str) -> Query:
    """Read `q`. Raises Invalid."""
    if len(text) > QUERY_LIMIT_CHARACTERS:
        raise Invalid("The search is longer than 256 characters.")
    try:
        parts = shlex.shlex(text, posix=True, punctuation_chars="")
        parts.whitespace_split, parts.commenters, parts.quotes = True, "", '"'
        tokens = list(parts)
    except ValueError:  # an open quotation mark
        tokens = text.replace('"', "").split()
    if sum(token in {"AND", "OR", "NOT"} for token in tokens) > OPERATOR_LIMIT:
        raise Invalid("More than five AND / OR / NOT operators were used.")
    words, qualifiers = [], []
    for token in tokens:
        if found := _QUALIFIER.fullmatch(token):
            qualifiers.append((bool(found[1]), found[2].lower(), found[3]))
        elif token not in {"AND", "OR", "NOT"}:
            words.append(token.lower())
    return Query(tuple(words), tuple(qualifiers))


def find_repositories(view: View, query: Query, sort: str | None, order: str) -> list[Repository]:
    """Repositories that the caller may see, best first. Raises Invalid for an owner who does not exist."""
    owners = [value for is_not, name, value in query.qualifiers if name in {"user", "org"} and not is_not]
    if owners and not any(view.world.account(owner) for owner in owners):
        raise Invalid(
            "The listed users and repositories cannot be searched either because the resources do not exist"
            " or you do not have permission to view them."
        )
    found = [
        repository
        for repository in view.world.repositories
        if view.may_see(repository) and _repository_fits(view, repository, query)
    ]
    keys: dict[str | None, Callable[[Repository], float]] = {
        "stars": lambda one: stars_at(one, view.now),
        "forks": lambda one: one.forks,
        "help-wanted-issues": lambda one: one.open_issues,
        "updated": lambda one: updated_at(one, view.now).timestamp(),
    }
    best: Callable[[Repository], float] = _by_name(query, lambda one: one.name, lambda one: one.stars)
    return sorted(
        found, key=lambda one: (keys.get(sort, best)(one), one.id), reverse=sort not in keys or order != "asc"
    )


def find_accounts(view: View, query: Query, sort: str | None, order: str) -> list[Account]:
    """Users and organisations, best first."""
    found = [account for account in view.world.accounts if _account_fits(view, account, query)]
    keys: dict[str | None, Callable[[Account], float]] = {
        "followers": lambda one: one.followers,
        "repositories": lambda one: len(view.world.owned_by(one)),
        "joined": lambda one: one.created_at.timestamp(),
    }
    best: Callable[[Account], float] = _by_name(query, lambda one: one.login, lambda one: one.followers)
    return sorted(
        found, key=lambda one: (keys.get(sort, best)(one), one.id), reverse=sort not in keys or order != "asc"
    )


def _by_name(query: Query, name: Callable[[Found], str], weight: Callable[[Found], int]) -> Callable[[Found], float]:
    """Best match: the name itself, then names that begin so, then names that contain it, then the rest, by weight."""

    def score(one: Found) -> float:
        text = name(one).lower()
        hits = max((3 * (text == word) + 2 * text.startswith(word) + (word in text) for word in query.words), default=0)
        return hits * 10**9 + weight(one)

    return score


def _repository_fits(view: View, repository: Repository, query: Query) -> bool:
    places = {value for _, name, value in query.qualifiers if name == "in"} or {"name,description,topics"}
    wanted = {place for value in places for place in value.split(",")}
    text = "\n".join(
        part.lower()
        for place, part in (
            ("name", repository.full_name if "/" in "".join(query.words) else repository.name),
            ("description", repository.description or ""),
            ("topics", " ".join(repository.topics)),
        )
        if place in wanted
    )
    if not all(word in text for word in query.words):
        return False
    owners = {value.lower() for is_not, name, value in query.qualifiers if name in {"user", "org"} and not is_not}
    if owners and repository.owner.login.lower() not in owners:
        return False
    return _all_fit(query, lambda name, value: _repository_has(view, repository, name, value.lower()))


def _repository_has(view: View, repository: Repository, name: str, value: str) -> bool:
    match name:
        case "language":
            return (repository.language or "").lower().replace(" ", "-") == value.replace(" ", "-")
        case "topic":
            return value in repository.topics
        case "license":
            return repository.license is not None and repository.license[0] == value
        case "stars":
            return _in_range(stars_at(repository, view.now), value)
        case "forks":
            return _in_range(repository.forks, value)
        case "size":
            return _in_range(repository.size_kib, value)
        case "created":
            return _in_range(repository.created_at, value)
        case "pushed":
            return _in_range(pushed_at(repository, view.now), value)
        case "repo":
            return repository.full_name.lower() == value
        case "archived":
            return repository.archived == (value == "true")
        case "is":
            return {"private": repository.private, "public": not repository.private}.get(value, True)
        case "fork":
            return repository.fork or value != "only"
        case _:
            return True


def _account_fits(view: View, account: Account, query: Query) -> bool:
    text = f"{account.login}\n{account.name or ''}\n{account.email or ''}".lower()
    return all(word in text for word in query.words) and _all_fit(
        query, lambda name, value: _account_has(view, account, name, value.lower())
    )


def _account_has(view: View, account: Account, name: str, value: str) -> bool:
    match name:
        case "type":
            return account.type.lower().startswith(value[:3])
        case "location":
            return value in (account.location or "").lower()
        case "followers":
            return _in_range(account.followers, value)
        case "repos":
            return _in_range(len(view.world.owned_by(account)), value)
        case "created":
            return _in_range(account.created_at, value)
        case "updated":
            return _in_range(account_updated_at(view, account), value)
        case "language":
            return any((one.language or "").lower() == value for one in view.world.owned_by(account) if not one.private)
        case "user" | "org":
            return account.login.lower() == value
        case _:
            return True


def _all_fit(query: Query, has: Callable[[str, str], bool]) -> bool:
    checked: Iterable[bool] = (has(name, value) != is_not for is_not, name, value in query.qualifiers)
    return all(checked)


def _in_range(value: int | datetime, text: str) -> bool:
    """Whether a number, or a day, fits `>n`, `>=n`, `<n`, `<=n`, `n..m`, `n..*`, `*..m` or `n`."""
    found = _RANGE.fullmatch(text)
    if found is None:
        return False
    if isinstance(value, datetime):
        # ISO dates stand in the order of their texts; what is asked for may be a day or a second.
        return _fits(value.strftime("%Y-%m-%dt%H:%M:%S")[: max(len(found["low"]), 10)], found, str)
    return _fits(value, found, int)


def _fits(actual: Bound, found: re.Match[str], read: Callable[[str], Bound]) -> bool:
    try:
        low = None if found["low"] == "*" else read(found["low"])
        high = None if found["high"] in {None, "*"} else read(found["high"])
    except ValueError:
        return False
    match found["sign"], found["high"]:
        case ">", _:
            return low is not None and actual > low
        case "<", _:
            return low is not None and actual < low
        case "<=", _:
            return low is None or actual <= low
        case "", None:
            return actual == low
        case _:
            return (low is None or actual >= low) and (high is None or actual <= high)

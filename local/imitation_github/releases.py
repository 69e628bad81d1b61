"""Releases: those that follow from the clock, and those that were published while the imitation runs."""

from datetime import datetime, timedelta
from typing import Any

from local.imitation_github import events
from local.imitation_github.objects import Json, View
from local.imitation_github.pulse import pushed_at
from local.imitation_github.world import Repository, World

_FIELDS = {"repository": str, "tag": str, "name": str, "body": str, "prerelease": bool, "draft": bool}
FIRST_PUBLISHED_NUMBER = 50
"""Above the numbers that follow from the clock."""


class Releases:
    """What was published, newest first."""

    def __init__(self) -> None:
        self._published: list[tuple[Repository, int, datetime, dict[str, Any]]] = []

    def publish(self, world: World, told: Any, now: datetime) -> int:
        """Publish what `told` says: `repository` (`owner/name`) and `tag`, perhaps `name`, `body`, `prerelease` and
        `draft`; the release's id. Raises ValueError for anything else."""
        if not isinstance(told, dict) or not told.keys() <= _FIELDS.keys() or not told.keys() >= {"repository", "tag"}:
            raise ValueError(f"an object of {', '.join(_FIELDS)}, the first two always")
        for field, value in told.items():
            if not isinstance(value, _FIELDS[field]):
                raise ValueError(f"{field} should be a {_FIELDS[field].__name__}")
        owner, _, name = told["repository"].partition("/")
        repository = world.repository(owner, name)
        if repository is None:
            raise ValueError(f"there is no repository {told['repository']}")
        number = FIRST_PUBLISHED_NUMBER + len(self._published)
        self._published.insert(0, (repository, number, now, told))
        return events.release_id(repository, number)

    def of(self, view: View, repository: Repository) -> list[tuple[int, datetime, dict[str, Any]]]:
        """Number, time and what was told of each release; drafts are for the owner. Every third repository began
        without any."""
        published = [
            (number, at, told)
            for published, number, at, told in self._published
            if published.id == repository.id and (not told.get("draft") or view.caller.owns(repository.owner))
        ]
        count = 0 if repository.id % 3 == 0 else repository.id % 41
        newest = pushed_at(repository, view.now)
        return published + [
            (number, newest - timedelta(days=17 * (count - number)), {}) for number in range(count, 0, -1)
        ]


def as_json(view: View, repository: Repository, number: int, at: datetime, told: dict[str, Any]) -> Json:
    """One release as GitHub shows it."""
    release = events.release(view, repository, number, at)
    if told:
        tag = told["tag"]
        release |= {
            "tag_name": tag,
            "html_url": f"{view.base}/{repository.full_name}/releases/tag/{tag}",
            "name": told.get("name", tag),
            "body": told.get("body"),
            "prerelease": told.get("prerelease", False),
            "draft": told.get("draft", False),
        }
        if release["draft"]:
            release["published_at"] = None
    return release

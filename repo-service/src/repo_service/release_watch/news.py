"""Which of the releases that GitHub lists are new, what is told of one, and when to look again. Pure."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from github_client.releases import Release

EXCERPT_CHARACTERS = 500
MOST_KNOWN = 200
"""Releases remembered for a repository: more than are ever looked at, so that what slides back onto a page is known."""
LONGEST_INTERVAL_SECONDS, SHORTEST_INTERVAL_SECONDS = 900.0, 60.0
"""GitHub says `max-age=60`."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 120.0, 900.0
LONGEST_MISSING_RETRY_SECONDS = 86_400.0


def interval_seconds(subscribers: int) -> float:
    """Until the next look: a quarter of an hour for one subscriber, a minute for 15 and more."""
    return max(SHORTEST_INTERVAL_SECONDS, LONGEST_INTERVAL_SECONDS / max(subscribers, 1))


def retry_seconds(failures: int, *, is_missing: bool) -> float:
    """Until the next look after so many failed ones in a row, the last one included.

    Missing is what was deleted, made private or has not been made yet: it may come, but seldom soon.
    """
    longest = LONGEST_MISSING_RETRY_SECONDS if is_missing else LONGEST_RETRY_SECONDS
    doubled: float = FIRST_RETRY_SECONDS * 2.0 ** min(max(failures - 1, 0), 16)
    return min(doubled, longest)


def new_releases(listed: Iterable[Release], known_ids: Collection[int], watched_since: datetime) -> list[Release]:
    """Those to tell of, oldest first: published (a draft is not), since it is watched, and not seen before.

    Ids alone do not tell: a draft has its id long before it is published, and a deleted release lets an old one onto
    the page.
    """
    new = {
        release.id: (release.published_at, release)
        for release in listed
        if not release.draft
        and release.id not in known_ids
        and release.published_at is not None
        and release.published_at >= watched_since
    }
    return [release for _, release in sorted(new.values(), key=lambda each: (each[0], each[1].id))]


def remembered_ids(listed: Iterable[Release], known_ids: Sequence[int]) -> list[int]:
    """The ids to know from now on: those listed and published, and before them the ones known already."""
    seen = [release.id for release in listed if not release.draft]
    return list(dict.fromkeys([*seen, *known_ids]))[:MOST_KNOWN]


def message_body(repository: str, release: Release) -> dict[str, Any]:
    """What `release.published` tells; `repository` is `owner/name`."""
    return {
        "repository": repository,
        "tag": storable(release.tag_name),
        "name": storable(release.name or ""),
        "html_url": storable(release.html_url),
        "published_at": release.published_at,
        "prerelease": release.prerelease,
        "excerpt": excerpt(release.body or ""),
    }


def excerpt(text: str) -> str:
    """The beginning, at most 500 characters, ended at a space where there is one near."""
    text = storable(text).strip()
    if len(text) <= EXCERPT_CHARACTERS:
        return text
    cut = text[: EXCERPT_CHARACTERS - 1]
    space = max(cut.rfind(" "), cut.rfind("\n"))
    return (cut[:space] if space > EXCERPT_CHARACTERS * 3 // 4 else cut).rstrip() + "…"


def storable(text: str) -> str:
    """Without NUL, which Postgres does not take."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")

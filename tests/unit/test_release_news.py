"""Which releases are new, what is told of them, and when to look again."""

from datetime import UTC, datetime, timedelta

import pytest

from github_client.releases import Release
from repo_service.release_watch.news import (
    MOST_KNOWN,
    excerpt,
    interval_seconds,
    message_body,
    new_releases,
    remembered_ids,
    retry_seconds,
)

SINCE = datetime(2026, 11, 20, 12, tzinfo=UTC)


def release(number: int, hours: float | None = 1, *, draft: bool = False, body: str = "") -> Release:
    """One that was published so many hours after the watch began; None: not at all."""
    at = None if hours is None else SINCE + timedelta(hours=hours)
    url = f"https://github.com/a/a/releases/tag/v{number}"
    return Release(number, f"v{number}", url, draft, False, published_at=at, body=body)


@pytest.mark.parametrize(
    ("listed", "known", "told"),
    [
        ([], [], []),
        ([release(2), release(1)], [], [1, 2]),
        ([release(2), release(1)], [1], [2]),
        ([release(2), release(1)], [1, 2], []),
        ([release(1, -0.1)], [], []),
        ([release(1, 0)], [], [1]),
        ([release(3, None, draft=True), release(2)], [2], []),
        # A draft that was begun before the last one, and published after it.
        ([release(3, 1), release(2, 5)], [3], [2]),
        # An old one that a deleted one let onto the page.
        ([release(5, 2), release(1, -100)], [5, 4], []),
        ([release(1), release(1)], [], [1]),
    ],
)
def test_new_is_what_was_published_since_and_not_seen(listed: list[Release], known: list[int], told: list[int]) -> None:
    assert [new.id for new in new_releases(listed, known, SINCE)] == told


def test_what_was_seen_is_remembered_but_drafts_are_not() -> None:
    listed = [release(3, None, draft=True), release(2), release(1)]
    assert remembered_ids(listed, [1, 0]) == [2, 1, 0]
    assert len(remembered_ids(listed, range(1000))) == MOST_KNOWN


@pytest.mark.parametrize(("subscribers", "seconds"), [(0, 900), (1, 900), (3, 300), (15, 60), (10_000, 60)])
def test_what_many_wait_for_is_looked_at_more_often(subscribers: int, seconds: float) -> None:
    assert interval_seconds(subscribers) == seconds


@pytest.mark.parametrize(
    ("failures", "is_missing", "seconds"),
    [(1, False, 120), (2, False, 240), (50, False, 900), (1, True, 120), (5, True, 1920), (1000, True, 86_400)],
)
def test_failed_looks_are_repeated_later_each_time(failures: int, is_missing: bool, seconds: float) -> None:
    assert retry_seconds(failures, is_missing=is_missing) == seconds


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ""),
        ("  ## Fixed\n", "## Fixed"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 499 + "…"),
        ("字" * 501, "字" * 499 + "…"),
        ("word " * 101, ("word " * 100)[:-6] + "…"),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
def test_excerpt_is_at_most_500_characters(text: str, told: str) -> None:
    assert excerpt(text) == told
    assert len(excerpt(text)) <= 500


def test_message_tells_what_the_release_is() -> None:
    assert message_body("a/a", release(7, body="notes")) == {
        "repository": "a/a",
        "tag": "v7",
        "name": "",
        "html_url": "https://github.com/a/a/releases/tag/v7",
        "published_at": SINCE + timedelta(hours=1),
        "prerelease": False,
        "excerpt": "notes",
    }

"""What the trending store answers: snapshots of pages, the history of what is on them, and how the store does."""

from datetime import date, datetime
from typing import Literal

import msgspec


class StoredPage(msgspec.Struct, frozen=True):
    """A snapshot of a page."""

    snapshot_id: int
    taken_at: datetime
    """UTC."""
    age_seconds: float
    """By the database's clock."""
    is_degraded: bool
    """True where it could only be read in part, and there is no better one."""
    rows: bytes
    """A JSON array, best first: each row is a TrendingRepository or TrendingDeveloper with the members of Standing,
    which are null in a degraded snapshot."""


class Unchanged(msgspec.Struct, frozen=True):
    """The caller has the current snapshot already."""

    age_seconds: float
    """Of that snapshot, by the database's clock."""
    failing: bool
    """True when the last fetch brought nothing better."""


class Failing(msgspec.Struct, frozen=True):
    """A page of which nothing was ever stored, because its fetches fail."""

    reason: str
    retry_in_seconds: float
    """Negative: it is due."""


class Standing(msgspec.Struct, frozen=True):
    """A repository's or developer's history on one page, in days of UTC."""

    first_seen: datetime
    """When the first snapshot was taken that it was on, UTC."""
    streak_days: int
    """On how many days in a row it was seen, up to the snapshot's; a day without a snapshot breaks the streak."""
    best_rank: int
    """The best place it ever had on this page."""
    rank_change: int | None
    """By how many places it climbed (negative: fell) since the previous day's last snapshot; null if it was not on it,
    or there was none."""
    is_new: bool
    """True all through a day before whose first sighting it was not seen on this page for 30 days."""


class ItemDay(msgspec.Struct, frozen=True):
    """Where a repository or developer stood on one day of UTC."""

    day: date
    rank: int
    """Its place when it was last seen that day."""
    best_rank: int
    stars: int | None
    """Stars in all when it was last seen that day; null for developers, and where the page did not say."""
    period_stars: int | None


class ItemHistory(msgspec.Struct, frozen=True):
    """A repository's or developer's history on one page, as of the page's current snapshot."""

    as_of: datetime
    """When that snapshot was taken, UTC."""
    standing: Standing
    """With a streak of 0 days and no change of rank for what is no longer on the page."""
    rank: int | None
    """Its place now; null when it is not on the page."""
    days: list[ItemDay]
    """Newest first; days on which it was not seen are left out."""
    next_page: int | None


class Baseline(msgspec.Struct, frozen=True):
    """Good snapshots in sum, to judge the next one by."""

    scope: Literal["page", "section"]
    """The page's own snapshots, or those of all pages of its section."""
    snapshots: int
    rows: int
    filled: dict[str, int]
    """How many of the rows have each field."""


class TrendingHealth(msgspec.Struct, frozen=True):
    """The store at a glance."""

    pages_known: int
    pages_warm: int
    """Those that are fetched regularly: asked for within a day, and not too many."""
    pages_failing: int
    """Warm pages whose last fetch brought nothing good."""
    failing_since: datetime | None
    """Since when the longest failing one does, UTC."""
    failing_reason: str | None
    """Why that one does."""
    oldest_seconds: float | None
    """The age of the oldest snapshot that is shown of a warm page; None when there is none."""
    is_collector_alive: bool
    """Whether some process holds the lease to collect."""

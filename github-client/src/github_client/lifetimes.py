"""How long an answer may be reused, in seconds, by kind of resource: the one table."""

from typing import Literal, NamedTuple

Kind = Literal["repository", "readme", "developer", "events", "search", "caller"]


class Lifetime(NamedTuple):
    """`fresh`: answered as it is. `revalidate`: for so long after that it is answered at once and renewed behind.

    Older than both, the caller waits a moment for a renewal, and gets the copy when none comes.
    """

    fresh_seconds: int
    revalidate_seconds: int


FLOOR_SECONDS = 60
"""GitHub says `max-age=60` for its core resources: nothing is asked for again any sooner."""
LIFETIMES: dict[Kind, Lifetime] = {
    "repository": Lifetime(300, 3600),
    "readme": Lifetime(900, 86_400),
    "developer": Lifetime(900, 86_400),
    "events": Lifetime(FLOOR_SECONDS, 600),  # GitHub itself tells of events with half a minute's delay or more
    "search": Lifetime(300, 3600),  # no ETag, so each renewal costs one of 30 requests a minute
    "caller": Lifetime(FLOOR_SECONDS, 0),
}
MISSING = Lifetime(FLOOR_SECONDS, 0)
"""What GitHub does not show: it may be there the next moment."""
STALE_IF_ERROR_SECONDS = 86_400
"""For how long a shared cache in front may go on with an answer while nobody answers it."""
TRENDING = 300
LANGUAGES = 3600
TRENDING_PAST_DAY = 86_400
"""A day's last snapshot, once the day is over: it changes no more."""
TRENDING_HISTORY = 3600
"""A repository's days on a page: only today's entry still moves."""

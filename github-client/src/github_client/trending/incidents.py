"""When the pages of a section can no longer be read: told once a day while it lasts, and when it is over."""

from collections.abc import Callable

import structlog

from github_client.clock import Clock
from github_client.trending.page_key import PageKey, Section

FORGOTTEN_AFTER_SECONDS = 7200.0
"""A page that has not been fetched again for so long is no longer wanted, and holds no incident open."""
log = structlog.get_logger()

Report = Callable[[str, str, str], None]
"""Takes what makes reports of the same incident one, the section, and what is wrong."""


class ParseIncidents:
    """GitHub shows a page wrong for a moment now and then: only the second sign of it opens an incident.

    That is another page of the section, or the same page fetched again.
    """

    def __init__(self, report: Report, clock: Clock) -> None:
        self._report = report
        self._clock = clock
        self._bad: dict[PageKey, tuple[int, float]] = {}
        """Bad parses in a row, and when the last one was."""
        self._told_on: dict[Section, str] = {}
        """The day (UTC) of the last report of what is still going on."""

    def note_bad(self, key: PageKey, reason: str) -> None:
        """A page was fetched and could not be read as it should."""
        now = self._clock.seconds()
        self._bad = {bad: known for bad, known in self._bad.items() if now - known[1] < FORGOTTEN_AFTER_SECONDS}
        signs, _ = self._bad.get(key, (0, now))
        self._bad[key] = (signs + 1, now)
        of_section = [known for bad, known in self._bad.items() if bad.section == key.section]
        day = self._clock.utc().date().isoformat()
        if (signs or len(of_section) > 1) and self._told_on.get(key.section) != day:
            self._told_on[key.section] = day
            log.error("trending.parse_degraded", section=key.section, target=key.target, reason=reason)
            self._report(f"trending parse {key.section} {day}", key.section, f"{key.target}: {reason}")

    def note_good(self, key: PageKey) -> None:
        """A page was read as it should be."""
        self._bad.pop(key, None)
        if key.section in self._told_on and not any(bad.section == key.section for bad in self._bad):
            del self._told_on[key.section]
            log.info("trending.parse_recovered", section=key.section)

"""The trending store in Postgres: the statements of store.sql as methods. Each is one transaction."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date
from typing import Any

import msgspec

from github_client.clock import Clock
from github_client.languages import Language
from github_client.trending.page_key import PageKey, Section
from github_client.trending.stored import (
    Baseline,
    Failing,
    ItemDay,
    ItemHistory,
    Standing,
    StoredPage,
    TrendingHealth,
    Unchanged,
)
from service_kit.database import Database, Row
from service_kit.queries import read_queries

LEASE_SECONDS = 15.0
"""How long a collector may be silent before another takes over."""
PAGE_INTERVAL_SECONDS = 600.0
"""Between two fetches of one page; only an imitation of GitHub is asked more often."""
JITTER = 0.2
"""The pace is slower than asked for by up to this share, so that it is no metronome."""
WARM_SECONDS = 86_400.0
"""A page nobody has asked for since is no longer fetched."""
MOST_WARM = 120
"""At 5 s each, as many as can be fetched in 10 minutes."""
ASK_REPEAT_SECONDS = 10.0
"""Who asks for a page again within this time changes nothing."""
HISTORY_DAYS_PER_PAGE = 30
FULL_RETENTION_DAYS = 7
BASELINE_OF_PAGE, BASELINE_OF_SECTION = 20, 200
THIN_OUT_BATCH = 1000

QUERIES = read_queries(__file__)


class TrendingStore:
    """Every method raises DatabaseUnavailable or StatementTimeout, and bears being run twice."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def latest(self, key: PageKey, known_snapshot_id: int | None = None) -> StoredPage | Unchanged | None:
        """What is to be shown of a page; without the rows where `known_snapshot_id` is still the one. None: nothing.

        Cheap enough to be polled for every page that is in use.
        """
        row = await self._fetch("latest", key, known_snapshot_id=known_snapshot_id)
        if row is not None and row[0] == known_snapshot_id:
            return Unchanged(age_seconds=row[2], failing=row[4])
        return _stored_page(row)

    async def on(self, key: PageKey, day: date) -> StoredPage | None:
        """The last good snapshot of that day of UTC; None if there is none."""
        return _stored_page(await self._fetch("on", key, day=day))

    async def history(self, key: PageKey, item: str, page: int) -> ItemHistory | None:
        """The history of `owner/name` or a login, in any case; None if it was never seen on this page.

        `page` counts from 1, each of 30 days; there are no days beyond the last page.
        """
        rows = await self._database.fetch_all(
            QUERIES["history"],
            self._parameters(key, item=item, skip=(page - 1) * HISTORY_DAYS_PER_PAGE, limit=HISTORY_DAYS_PER_PAGE + 1),
        )
        if not rows:
            return None
        taken_at, first_seen, streak_days, best_rank, rank_change, is_new, rank, *_ = rows[0]
        days = [ItemDay(*row[7:]) for row in rows if row[7] is not None]
        return ItemHistory(
            as_of=taken_at.astimezone(UTC),
            standing=Standing(first_seen.astimezone(UTC), streak_days, best_rank, rank_change, is_new),
            rank=rank,
            days=days[:HISTORY_DAYS_PER_PAGE],
            next_page=page + 1 if len(days) > HISTORY_DAYS_PER_PAGE else None,
        )

    async def ask(self, keys: Collection[PageKey], *, waiting: bool = False) -> None:
        """Note that these pages were asked for: unknown ones are due at once. `waiting`: a person waits for them."""
        if keys:
            distinct = set(keys)
            columns: dict[str, list[str]] = {
                field: [getattr(key, field) for key in distinct] for field in PageKey.__struct_fields__
            }
            await self._execute("ask", **columns, waiting=waiting, repeat_seconds=ASK_REPEAT_SECONDS)

    async def ask_for_subscribers(self) -> None:
        """Note that the pages are wanted whose newcomers somebody has subscribed to."""
        await self._execute("ask_for_subscribers", repeat_seconds=ASK_REPEAT_SECONDS)

    async def lead(self, holder: str) -> bool:
        """Take the collector's lease for 15 s, or renew it; False while another holds it."""
        return await self._execute("lead", holder=holder, lease_seconds=LEASE_SECONDS) == 1

    async def resign(self, holder: str) -> None:
        """Give the lease back, so that another need not wait for its end."""
        await self._execute("resign", holder=holder)

    async def claim(
        self, holder: str, interval_seconds: float, page_interval_seconds: float = PAGE_INTERVAL_SECONDS
    ) -> PageKey | None:
        """The page to fetch now, if any: only for who has the lease, and no sooner than the pace allows.

        The next one can be had after `interval_seconds` plus up to a fifth, this page again after
        `page_interval_seconds`, whoever asks: neither two collectors nor a restarted one can be faster. Only what
        failed and was never shown may be had sooner.
        """
        row = await self._fetch(
            "claim",
            None,
            holder=holder,
            interval_seconds=interval_seconds,
            jitter=JITTER,
            floor_seconds=page_interval_seconds,
            warm_seconds=WARM_SECONDS,
            most_warm=MOST_WARM,
        )
        return PageKey(*row) if row else None

    async def store(
        self,
        key: PageKey,
        rows: Sequence[msgspec.Struct],
        filled: Mapping[str, int],
        *,
        is_degraded: bool,
        next_fetch_in_seconds: float,
    ) -> int:
        """Store a fetched page, and with it the history of what is on it; return the snapshot's id.

        `filled` says how many rows have each field. A good snapshot is shown from now on and ends a series of failures;
        a degraded one is shown only where there never was a good one, and does not count as history.
        """
        snapshot_id = secrets.randbits(63)
        parameters = self._parameters(
            key,
            id=snapshot_id,
            rows=msgspec.json.encode(rows).decode(),
            filled=msgspec.json.encode(filled).decode(),
            next_fetch_in_seconds=next_fetch_in_seconds,
        )
        await self._database.execute(QUERIES["store_degraded" if is_degraded else "store"], parameters)
        return snapshot_id

    async def fail(self, key: PageKey, reason: str, retry_in_seconds: float) -> int:
        """Note that a fetch brought nothing good; what is shown stays. Return how many have failed in a row."""
        row = await self._fetch("fail", key, reason=reason, retry_in_seconds=retry_in_seconds)
        return int(row[0]) if row else 0

    async def failing(self, key: PageKey) -> Failing | None:
        """Why there is nothing of a page, where a fetch of it has failed; None for one that has not, or is shown."""
        row = await self._fetch("failing", key)
        return Failing(*row) if row else None

    async def baseline(self, section: Section, key: PageKey) -> list[Baseline]:
        """The last 20 good snapshots of this page and the last 200 of the section, each in sum; none without any."""
        parameters = self._parameters(key, of_page=BASELINE_OF_PAGE, of_section=BASELINE_OF_SECTION)
        rows = await self._database.fetch_all(QUERIES["baseline"], {**parameters, "section": section})
        return [Baseline(*row) for row in rows]

    async def thin_out(self) -> int:
        """Delete a batch of what need not be kept; return how much that was (0: nothing left).

        Snapshots are kept for 7 days, then each day's last good one of every page. Pages that were asked for and could
        not be fetched are forgotten when nobody has asked for a day.
        """
        row = await self._fetch("thin_out", None, days=FULL_RETENTION_DAYS, batch=THIN_OUT_BATCH)
        pages = await self._execute("thin_out_pages", warm_seconds=WARM_SECONDS, batch=THIN_OUT_BATCH)
        return (int(row[0]) if row else 0) + pages

    async def save_menu(self, languages: Sequence[Language]) -> None:
        """Keep the languages that a page offers, for services that fetch none themselves."""
        await self._execute("save_menu", languages=msgspec.json.encode(languages).decode())

    async def load_menu(self) -> tuple[Language, ...] | None:
        """The languages last seen; None before the first."""
        row = await self._fetch("load_menu", None)
        return msgspec.json.decode(row[0], type=tuple[Language, ...]) if row else None

    async def health(self) -> TrendingHealth:
        """How the store does."""
        row = await self._fetch("health", None, warm_seconds=WARM_SECONDS, most_warm=MOST_WARM)
        assert row is not None
        known, warm, failing, since, *rest = row
        return TrendingHealth(known, warm, failing, since.astimezone(UTC) if since else None, *rest)

    async def _fetch(self, query: str, key: PageKey | None, **parameters: Any) -> Row | None:
        return await self._database.fetch_one(QUERIES[query], self._parameters(key, **parameters))

    async def _execute(self, query: str, **parameters: Any) -> int:
        return await self._database.execute(QUERIES[query], self._parameters(None, **parameters))

    def _parameters(self, key: PageKey | None, **parameters: Any) -> dict[str, Any]:
        page = msgspec.structs.asdict(key) if key else {}
        return {"now": self._clock.for_sql(), **page, **parameters}


def _stored_page(row: Row | None) -> StoredPage | None:
    if row is None:
        return None
    snapshot_id, taken_at, age_seconds, is_degraded, _, rows = row
    return StoredPage(snapshot_id, taken_at.astimezone(UTC), age_seconds, is_degraded, rows.encode())

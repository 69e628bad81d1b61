"""The doctor: what ails the queue, its database and its channels, each check with what it found."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal
from urllib.parse import urlsplit

import msgspec
import psycopg2

from notifier_service.models import Unreachable
from notifier_service.queue import WAKE_UP_CHANNEL
from notifier_service.settings import NotifierSettings
from notifier_service.subscriptions import ENCRYPTION_PURPOSE
from notifier_service.wechat.account import fetch_templates
from notifier_service.wechat.token import ENCRYPTION_PURPOSE as TOKEN_PURPOSE
from notifier_service.wechat.token import TokenKeeper
from service_kit.client import open_session
from service_kit.database import Database, Row, cursor
from service_kit.encryption import Encryption, Undecipherable
from service_kit.errors import ServiceError
from service_kit.metrics import Metrics
from service_kit.queries import read_queries

CHECK_TIMEOUT_SECONDS = 10.0
MOST_SKEW_SECONDS = 2.0
MOST_DEAD_TUPLES = 50_000
MOST_SNAPSHOT_SECONDS = 60.0
MOST_DUE_SECONDS = 60.0
INDEX_FLOOR_BYTES, INDEX_BYTES_A_ROW = 16 * 2**20, 400
"""Four times what a row of delivery_ready takes when its pages are well filled; below the floor nothing is bloated."""

QUERIES = read_queries(__file__)


class Finding(msgspec.Struct, frozen=True):
    """What one check found. A warning is worth a look; failed means that something does not work."""

    check: str
    status: Literal["ok", "warning", "failed"]
    detail: str


class Doctor:
    """Looks at everything once. A check that cannot be made is a finding, too."""

    def __init__(self, settings: NotifierSettings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._encryption = Encryption(settings.secret_key, ENCRYPTION_PURPOSE)

    async def look(self) -> list[Finding]:
        """All findings, in one order."""
        checks: list[tuple[str, Callable[[], Awaitable[Finding]]]] = [
            ("database", self._postgres),
            ("workers", self._workers),
            ("oldest due", self._oldest_due),
            ("wake-up", self._wake_up),
            ("dead letters", self._dead_letters),
            ("dead tuples", self._dead_tuples),
            ("oldest snapshot", self._oldest_snapshot),
            ("index bloat", self._ready_index),
            ("partitions", self._partitions),
            ("time zones", self._time_zones),
            ("endpoints", self._endpoints),
            *((f"reach {name}", _reaching(name, url)) for name, url in self._upstreams()),
            *([("wechat templates", self._templates)] if self._settings.wechat_app_id else []),
        ]
        return [await _made(name, check) for name, check in checks]

    def _upstreams(self) -> list[tuple[str, str]]:
        found = []
        if self._settings.slack_webhook_url is not None:
            found.append(("slack", self._settings.slack_webhook_url.get_secret_value()))
        if self._settings.wechat_app_id is not None:
            found.append(("wechat", self._settings.wechat_api_url))
        return found

    async def _postgres(self) -> Finding:
        asked = time.time()
        number, version, there = await self._one("database")
        answered = time.time()
        skew = there - (asked + answered) / 2
        took = (
            f"PostgreSQL {version}, answered in {(answered - asked) * 1000:.1f} ms, its clock is {skew:+.3f} s off ours"
        )
        if number < 150_000:
            return Finding("database", "failed", f"{took}; PostgreSQL 15 or newer is needed")
        return _finding("database", abs(skew) > MOST_SKEW_SECONDS, took)

    async def _workers(self) -> Finding:
        alive, known = await self._one("workers")
        if alive == 0:
            return Finding("workers", "failed", f"none delivers now; {known} known")
        return Finding("workers", "ok", f"{alive} of {known} deliver now")

    async def _oldest_due(self) -> Finding:
        (seconds,) = await self._one("oldest_due")
        if seconds is None:
            return Finding("oldest due", "ok", "nothing is due")
        return _finding("oldest due", seconds > MOST_DUE_SECONDS, f"due for {seconds:.1f} s")

    async def _wake_up(self) -> Finding:
        """Whether a notification gets through Postgres (and whatever pooler stands before it) to who listens."""
        listening = await self._database.connect()
        try:
            async with cursor(listening) as opened:
                await opened.execute(f"listen {WAKE_UP_CHANNEL}_doctor")
            started = time.monotonic()
            await self._database.fetch_all(f"select pg_notify('{WAKE_UP_CHANNEL}_doctor', '')")
            # A time-out may lose a notification; here it is the finding.
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS / 2):
                await listening.notifies.get()
            return Finding("wake-up", "ok", f"LISTEN heard NOTIFY after {(time.monotonic() - started) * 1000:.1f} ms")
        except TimeoutError:
            return Finding("wake-up", "failed", "LISTEN did not hear NOTIFY: is a pooler between, without sessions?")
        finally:
            listening.close()

    async def _dead_letters(self) -> Finding:
        count, seconds = await self._one("dead_letters")
        if not count:
            return Finding("dead letters", "ok", "none")
        return Finding("dead letters", "warning", f"{count}, the newest {seconds:.0f} s old: notifier dead ls")

    async def _dead_tuples(self) -> Finding:
        count, seconds = await self._one("dead_tuples")
        vacuumed = "never vacuumed" if seconds is None else f"vacuumed {seconds:.0f} s ago"
        return _finding("dead tuples", count > MOST_DEAD_TUPLES, f"{count} in delivery, {vacuumed}")

    async def _oldest_snapshot(self) -> Finding:
        row = await self._database.fetch_one(QUERIES["oldest_snapshot"])
        if row is None or row[0] is None:
            return Finding("oldest snapshot", "ok", "none is held")
        return _finding("oldest snapshot", row[0] > MOST_SNAPSHOT_SECONDS, f"held for {row[0]:.1f} s by {row[1]}")

    async def _ready_index(self) -> Finding:
        size_bytes, rows = await self._one("ready_index")
        is_bloated = size_bytes > INDEX_FLOOR_BYTES + INDEX_BYTES_A_ROW * rows
        return _finding("index bloat", is_bloated, f"delivery_ready takes {size_bytes / 2**20:.1f} MiB for {rows} rows")

    async def _partitions(self) -> Finding:
        missing, has_strays = await self._one("partitions")
        if missing:
            return Finding("partitions", "failed", f"of delivery_record missing for {', '.join(missing)}")
        return _finding(
            "partitions",
            has_strays,
            "records lie in the default partition" if has_strays else "today's and tomorrow's are there",
        )

    async def _time_zones(self) -> Finding:
        rows = await self._database.fetch_all(QUERIES["time_zones"])
        if not rows:
            return Finding("time zones", "ok", "Postgres knows those of all subscriptions")
        few = ", ".join(f"{id_} ({time_zone})" for id_, time_zone in rows[:5])
        more = " and others" if len(rows) > 5 else ""
        return Finding(
            "time zones", "warning", f"Postgres does not know those of subscriptions {few}{more}: UTC is used"
        )

    async def _endpoints(self) -> Finding:
        rows = await self._database.fetch_all(QUERIES["endpoints"])
        unreadable = [row[0] for row in rows if not self._is_readable(row)]
        if unreadable:
            few = ", ".join(str(one) for one in unreadable[:5])
            return Finding(
                "endpoints", "failed", f"{len(unreadable)} of {len(rows)} were stored under another SECRET_KEY: {few}"
            )
        return Finding("endpoints", "ok", f"the newest {len(rows)} can be read with this SECRET_KEY")

    async def _templates(self) -> Finding:
        """Whether WeChat takes our credentials, and the account has the templates that endpoints name."""
        settings = self._settings
        assert settings.wechat_app_id is not None
        assert settings.wechat_app_secret is not None
        async with open_session(Metrics()) as session:
            keeper = TokenKeeper(
                session,
                self._database,
                Encryption(settings.secret_key, TOKEN_PURPOSE),
                api_url=settings.wechat_api_url,
                app_id=settings.wechat_app_id,
                app_secret=settings.wechat_app_secret,
            )
            there = await fetch_templates(session, keeper, settings.wechat_api_url)
        named = {row[0] for row in await self._database.fetch_all(QUERIES["templates"])}
        if missing := sorted(named - there):
            return Finding("wechat templates", "failed", f"the account has none with the id {', '.join(missing)}")
        return Finding("wechat templates", "ok", f"the account has {len(there)}, endpoints name {len(named)} of them")

    def _is_readable(self, row: Row) -> bool:
        try:
            for stored in row[1:]:
                if stored is not None:
                    self._encryption.decrypt(stored)
        except Undecipherable:
            return False
        return True

    async def _one(self, query: str) -> Row:
        row = await self._database.fetch_one(QUERIES[query])
        assert row is not None
        return row


async def _made(name: str, check: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await check()
    except ServiceError as error:
        return Finding(name, "failed", error.detail)
    except Unreachable as error:
        return Finding(name, "failed", error.reason)
    except psycopg2.Error as error:
        return Finding(name, "failed", f"{str(error).splitlines()[0]}: were all migrations applied?")
    except TimeoutError:
        return Finding(name, "failed", f"took longer than {CHECK_TIMEOUT_SECONDS:.0f} s")


def _reaching(name: str, url: str) -> Callable[[], Awaitable[Finding]]:
    """Whether a connection (with TLS where the URL has it) can be made; nothing is sent."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)

    async def check() -> Finding:
        started = time.monotonic()
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS / 2):
                _, writer = await asyncio.open_connection(
                    parts.hostname, port, ssl=True if parts.scheme == "https" else None
                )
            writer.close()
        except (OSError, TimeoutError) as error:
            return Finding(f"reach {name}", "failed", f"{parts.hostname}:{port}: {error or 'no answer in time'}")
        return Finding(
            f"reach {name}", "ok", f"{parts.hostname}:{port} in {(time.monotonic() - started) * 1000:.0f} ms"
        )

    return check


def _finding(check: str, is_worth_a_look: bool, detail: str) -> Finding:
    return Finding(check, "warning" if is_worth_a_look else "ok", detail)

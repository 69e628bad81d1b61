"""Looks into the queue's tables from outside, and waits for what should come to be there."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg2
import psycopg2.extras

from service_kit.alerts import Alert


class QueueDatabase:
    """A connection of the test's own, each statement a transaction."""

    def __init__(self, url: str) -> None:
        self.url = url

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement; its rows, none for a statement that has none."""
        connection = psycopg2.connect(self.url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def enqueue(self, number: int = 1, *, dedup_key: str | None = None) -> int:
        """Enqueue an alert whose message is `alert <number>`; the message's id."""
        alert = Alert("a-service", "KeyError", "app.py:1 in f", f"alert {number}", "", "2026-11-23T10:07Z")
        body = {name: value for name, value in vars_of(alert).items() if name != "occurrences"}
        row = self.rows("select enqueue_notification('alert', %s::jsonb, %s)", (psycopg2.extras.Json(body), dedup_key))[
            0
        ]
        return int(row[0])

    def enqueue_release(self, number: int) -> None:
        """Enqueue a message for Slack that is no alert: many of those that wait together become one message."""
        self.rows("""
            insert into subscription (endpoint_id, topic) select id, 'release.published' from endpoint e
            where name = 'settings:slack' and not exists (
                select from subscription s where s.endpoint_id = e.id and s.topic = 'release.published')
        """)
        body = {"repository": "a/b", "tag": f"v{number}", "html_url": "https://github.com/a/b/releases"}
        self.rows("select enqueue_notification('release.published', %s)", (psycopg2.extras.Json(body),))

    def hurry(self) -> None:
        """Make every waiting delivery due now."""
        self.rows("update delivery set run_at = now() where state = 'ready'")

    def wait_past_start(self, seconds: float = 3) -> None:
        """When this returns, Postgres has run for so long: 3 s for a rescue from the dead, 15 s for leases to end."""
        self.rows(
            "select pg_sleep(greatest(0, extract(epoch from pg_postmaster_start_time() - now()) + %s + 0.1))",
            (seconds,),
        )

    def free_slots(self) -> None:
        """Let every endpoint take any number of messages at once."""
        self.rows("update endpoint set rate_per_second = null")

    def outcomes(self) -> list[str]:
        """The outcome of each try, oldest first."""
        return [row[0] for row in self.rows("select outcome from delivery_record order by at, attempt")]


def vars_of(alert: Alert) -> dict[str, Any]:
    """The fields of an alert."""
    return {name: getattr(alert, name) for name in alert.__struct_fields__}


async def eventually(condition: Callable[[], object], seconds: float = 5.0) -> float:
    """Wait until `condition` holds and return how long it took; fails after `seconds`."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - started

"""The notifier's retry rules, as a table."""

from datetime import UTC, datetime

import pytest

from notifier_service.models import Answer, Delivered, Rejected, Skipped, Unreachable
from notifier_service.retry import MOST_ATTEMPTS, Step, next_step, pause_seconds, retry_after_seconds

NOW = datetime(2026, 11, 23, 10, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ending", "attempt", "step"),
    [
        (Delivered(200), 1, Step("delivered", 200)),
        (Skipped("not set up"), 1, Step("skipped", error="not set up")),
        (Rejected("refused", 400), 1, Step("dead", 400, "refused")),
        (Unreachable("away"), 1, Step("failed", None, "away", 5.0)),
        (Unreachable("broken", http_status=500), 3, Step("failed", 500, "broken", 20.0)),
        (Unreachable("away"), MOST_ATTEMPTS - 1, Step("failed", None, "away", 900.0)),
        (Unreachable("away"), MOST_ATTEMPTS, Step("dead", None, "away")),
        (Unreachable("limited", http_status=429, retry_after_seconds=30), 1, Step("failed", 429, "limited", 31.0)),
    ],
)
def test_step_after_a_try(ending: Answer | Unreachable, attempt: int, step: Step) -> None:
    assert next_step(ending, attempt, chance=1.0) == step


def test_pause_is_spread_from_nothing_to_its_ceiling() -> None:
    pauses = [pause_seconds(4) for _ in range(1000)]

    assert min(pauses) >= 0
    assert max(pauses) <= 40
    assert max(pauses) - min(pauses) > 20


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("30", 30.0),
        (" 1 ", 1.0),
        ("99999999999", 3600.0),
        ("Mon, 23 Nov 2026 10:08:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 10:00:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Mon, 23 Nov 2026 10:08:00", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds

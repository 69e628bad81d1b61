"""The notifier's retry rules, as a table."""

from datetime import UTC, datetime

import pytest

from notifier_service.circuit import rest_seconds
from notifier_service.models import Answer, Delivered, Rejected, Skipped, Unreachable
from notifier_service.retry import (
    LONGEST_AGE_SECONDS,
    MOST_FAILURES,
    Step,
    next_step,
    pause_seconds,
    retry_after_seconds,
)

NOW = datetime(2026, 11, 23, 10, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ending", "failures", "step"),
    [
        (Delivered(200, "m1"), 1, Step("delivered", 200, endpoint="well", provider_id="m1")),
        (Skipped("not set up"), 1, Step("skipped", error="not set up")),
        (Rejected("refused", 400), 1, Step("dead", 400, "refused", endpoint="well")),
        (Rejected("gone", 410, disable_endpoint=True), 1, Step("dead", 410, "gone", endpoint="gone")),
        (Unreachable("away"), 1, Step("failed", None, "away", 5.0, endpoint="failing")),
        (Unreachable("broken", http_status=500), 3, Step("failed", 500, "broken", 120.0, endpoint="failing")),
        (Unreachable("away"), MOST_FAILURES - 1, Step("failed", None, "away", 86400.0, endpoint="failing")),
        (Unreachable("away"), MOST_FAILURES, Step("dead", None, "away", endpoint="failing")),
        (Unreachable("ours", blames_endpoint=False), 1, Step("failed", None, "ours", 5.0)),
        (
            Unreachable("limited", http_status=429, retry_after_seconds=30),
            MOST_FAILURES,
            Step("limited", 429, "limited", 31.0, counts=False, endpoint="limited"),
        ),
        (Unreachable("token", counts=False), MOST_FAILURES, Step("limited", None, "token", 86400.0, counts=False)),
    ],
)
def test_step_after_a_try(ending: Answer | Unreachable, failures: int, step: Step) -> None:
    assert next_step(ending, failures, chance=1.0) == step


def test_what_is_put_off_for_a_week_is_given_up() -> None:
    limited = Unreachable("limited", retry_after_seconds=30)

    assert next_step(limited, 1, LONGEST_AGE_SECONDS - 1).outcome == "limited"
    assert next_step(limited, 1, LONGEST_AGE_SECONDS).outcome == "dead"


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.0), (4, 0.0), (5, 5.0), (6, 10.0), (11, 320.0), (12, 600.0), (1000, 600.0)]
)
def test_endpoint_rests_longer_the_longer_it_fails(failures: int, seconds: float) -> None:
    assert rest_seconds(failures) == seconds


def test_pause_is_spread_from_nothing_to_its_ceiling() -> None:
    pauses = [pause_seconds(2) for _ in range(1000)]

    assert min(pauses) >= 0
    assert max(pauses) <= 30
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

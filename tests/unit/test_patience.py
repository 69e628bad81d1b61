"""What is left of the time a caller waits."""

import pytest

from service_kit.patience import RESERVE_SECONDS, begin_waiting, patience_seconds


@pytest.mark.parametrize(
    ("offered", "most", "left"),
    [
        ("15000", 13, 13),
        ("5000", 13, 5 - RESERVE_SECONDS),
        ("500", 13, 0),
        (None, 13, 13),
        ("", 13, 13),
        ("soon", 13, 13),
        ("-5", 13, 13),
        ("1e3", 13, 13),
        ("٣", 13, 13),
        ("9" * 400, 13, 13),
    ],
)
def test_no_work_takes_longer_than_its_caller_waits(offered: str | None, most: float, left: float) -> None:
    begin_waiting(offered)
    assert patience_seconds(most) == pytest.approx(left, abs=0.2)

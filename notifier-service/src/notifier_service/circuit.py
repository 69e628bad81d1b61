"""When an endpoint that fails time after time is left alone, and for how long. Pure."""

FAILURES_BEFORE_REST = 5
"""In a row, whichever deliveries they were of. Four may be a receiver that restarts."""
FIRST_REST_SECONDS = 5.0
LONGEST_REST_SECONDS = 600.0
"""Nobody waits longer than that for a receiver that is back."""


def rest_seconds(failures: int) -> float:
    """How long to leave an endpoint alone after so many failures in a row: 0 below five, then 5 s doubled each time."""
    if failures < FAILURES_BEFORE_REST:
        return 0.0
    return min(FIRST_REST_SECONDS * 2.0 ** min(failures - FAILURES_BEFORE_REST, 20), LONGEST_REST_SECONDS)


RESTS = [rest_seconds(failures) for failures in range(1, FAILURES_BEFORE_REST + 9)]
"""By failures, from one; the last one stands for all further ones."""

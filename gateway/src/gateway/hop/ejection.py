"""When a replica is left alone because it fails where the others do not, for how long, and how it comes back. Pure."""

from enum import StrEnum

FAILURES_IN_A_ROW = 5
"""Without an answer. One request that breaks its server, repeated by an impatient caller, is not yet enough."""
ANSWERS_TO_JUDGE_BY = 20
FAILURE_SHARE = 0.5
SHARE_OF_ONE = 0.05
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
FORGIVEN_AFTER_SECONDS = 60.0


class Standing(StrEnum):
    """What may be sent to a replica: everything, nothing, or one request to see how that goes."""

    ACTIVE = "active"
    EJECTED = "ejected"
    ON_TRIAL = "on_trial"


class Health:
    """How one replica has done lately. Times are of a monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.standing = Standing.ACTIVE
        self.failure_share = 0.0
        """A moving mean, 0 to 1."""
        self._judged = 0
        self._failures_in_a_row = 0
        self._ejections = 0
        self._ejected_at = self._until = 0.0

    def note_answer(self, *, well: bool) -> None:
        """An answer came to its end; not `well` is a status of 500 or more, which may be GitHub's doing."""
        self._failures_in_a_row = 0
        self._count(0.0 if well else 1.0)

    def note_failure(self) -> None:
        """No answer came, or one that broke off."""
        self._failures_in_a_row += 1
        self._count(1.0)

    def stands_out(self, others_failure_share: float) -> bool:
        """Whether it fails and the others do not; where all fail alike, what they lean on is at fault."""
        if self._failures_in_a_row >= FAILURES_IN_A_ROW:
            return True
        share = self.failure_share
        return self._judged >= ANSWERS_TO_JUDGE_BY and share >= FAILURE_SHARE and others_failure_share < share / 2

    def eject(self, now: float) -> None:
        """Send it nothing for 1 s, then twice as long each time, up to 30 s; a minute without begins anew."""
        if now - self._until > FORGIVEN_AFTER_SECONDS:
            self._ejections = 0
        self._ejected_at = now
        self._until = now + min(FIRST_PAUSE_SECONDS * 2.0**self._ejections, LONGEST_PAUSE_SECONDS)
        self._ejections += 1
        self.standing = Standing.EJECTED

    def is_due(self, now: float) -> bool:
        """Whether an ejected one may be looked at again."""
        return self.standing is Standing.EJECTED and now >= self._until

    def try_one(self) -> None:
        """It lives again: one request will show whether it serves."""
        self.standing = Standing.ON_TRIAL

    def is_shown_by(self, asked_at: float) -> bool:
        """Whether a good answer to what was asked then shows that one that was left alone serves again."""
        return self.standing is not Standing.ACTIVE and asked_at >= self._ejected_at

    def restore(self) -> None:
        """It has served a request: what was before is forgotten, but not how often it was ejected."""
        self.standing = Standing.ACTIVE
        self.failure_share = 0.0
        self._judged = self._failures_in_a_row = 0

    def _count(self, failure: float) -> None:
        self._judged += 1
        # The mean of all at first: a moving one that begins at 0 would hide what fails from its beginning.
        self.failure_share += max(SHARE_OF_ONE, 1 / self._judged) * (failure - self.failure_share)


def may_eject(replicas: int, out: int) -> bool:
    """Whether one more of so many may be left alone: at most half, as the rest has to carry what they carried."""
    return out < replicas // 2

"""GitHub's limits, kept: what each credential has left of each bucket, which may be asked, which rest. Pure.

Times are seconds of one monotonic clock, handed in. What other replicas learn comes in by `learn`.
"""

import hashlib
import math
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from github_client.credentials import Credential
from github_client.protocol import Limit
from service_kit.errors import UpstreamLimited

Purpose = Literal["people", "background"]
RESERVED_SHARE = 0.2
"""Of each budget, for people alone: what nobody waits for stops before it is touched."""
REFUSED_REST_SECONDS = 3600.0
RECHECK_SECONDS = 150.0
"""So long before its rest ends a refused credential is to be looked at again, which costs nothing."""
LONGEST_SECONDARY_REST_SECONDS = 3600.0
QUIET_SECONDS = 3600.0
"""A secondary limit that comes so long after the last one is a first one again."""
SAME_WINDOW_SECONDS = 10.0
"""Resets that differ by less are one: GitHub tells whole seconds, and clocks differ."""
EVERY_BUCKET = "*"
"""Where secondary limits and refusals are kept: they befall the credential as a whole."""
MOST_BUCKETS = 16
"""Per credential: a bucket is named by a header of GitHub's, and no header may fill the memory."""
MOST_CREDENTIALS = 1000
"""Those of callers come and go; the ones used last are remembered."""
ASSUMED_LIMITS = {"core": 5000, "search": 30, "code_search": 10}
ASSUMED_ANONYMOUS_LIMITS = {"core": 60, "search": 10}
"""GitHub's documentation (rate limits, search), until it tells of a window itself: how many may be under way."""
ASSUMED_WINDOW_SECONDS = 60.0
"""By then the answers have come that tell of the real one; the shortest real one (search) is as long."""
ANSWERS_DUE_SECONDS = 1.0
"""When to come back if all of an assumed budget is under way."""
_BUCKET = re.compile(r"[A-Za-z0-9_-]{1,40}")
Reason = Literal["primary", "secondary", "refused"]


class Budget(msgspec.Struct):
    """What is known of one bucket of one credential; times are monotonic, 0 is long ago."""

    limit: int = 0
    """Requests in a window; 0 where only a rest is known."""
    remaining: int = 0
    reset: float = 0.0
    """When the window ends and the budget is whole again."""
    rests_until: float = 0.0
    reason: Reason | None = None
    strikes: int = 0
    """Secondary limits in a row."""
    is_told: bool = True
    """False for a window that GitHub has not told of yet."""
    is_news: bool = False
    """Not handed on to other replicas yet."""


class QuotaKeeper:
    """Who may ask GitHub for what, by all that its answers have told."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, dict[str, Budget]] = OrderedDict()

    def choose(
        self, credentials: Sequence[Credential], bucket: str, resource: str, purpose: Purpose, now: float
    ) -> Credential:
        """The credential to ask with, charged with one request.

        The same resource goes to the same credential, on every replica, as long as that one may be used: an ETag
        holds only for the credential that got it. Raises UpstreamLimited, with the shortest wait, when none may.
        """
        waits = []
        for credential in sorted(credentials, key=lambda one: _rank(one.identity, resource)):
            wait_seconds = self.wait_seconds(credential, bucket, purpose, now)
            if wait_seconds <= 0:
                self._charge(credential, bucket, now)
                return credential
            waits.append(wait_seconds)
        raise UpstreamLimited("GitHub's rate limit is used up.", retry_after_seconds=max(1, math.ceil(min(waits))))

    def wait_seconds(self, credential: Credential, bucket: str, purpose: Purpose, now: float) -> float:
        """How long until the credential may be used; 0 when it may be now."""
        known = self.known(credential)
        rest, budget = known.get(EVERY_BUCKET), known.get(bucket)
        wait_seconds = rest.rests_until - now if rest is not None else 0.0
        if budget is not None:
            wait_seconds = max(wait_seconds, budget.rests_until - now)
            kept = _reserved(budget) if purpose == "background" else 0
            if budget.remaining <= kept:
                left_seconds = budget.reset - now
                wait_seconds = max(
                    wait_seconds, left_seconds if budget.is_told else min(left_seconds, ANSWERS_DUE_SECONDS)
                )
        return max(wait_seconds, 0.0)

    def is_low(self, credential: Credential, bucket: str, now: float) -> bool:
        """Whether GitHub has told that no more than the people's share is left of the window."""
        budget = self.known(credential).get(bucket)
        return budget is not None and budget.is_told and budget.reset > now and budget.remaining <= _reserved(budget)

    def _charge(self, credential: Credential, bucket: str, now: float) -> None:
        budget = self._budget(credential.identity, bucket)
        if budget.reset <= now:
            # A window of which nothing is known but its size: that bounds what is sent before its first answer.
            budget.limit = budget.limit or _assumed_limit(credential, bucket)
            budget.remaining, budget.reset, budget.is_told = budget.limit, now + ASSUMED_WINDOW_SECONDS, False
        budget.remaining = max(budget.remaining - 1, 0)

    def give_back(self, credential: Credential, bucket: str) -> None:
        """Take back the charge for a request that cost nothing: a 304, or one that never arrived."""
        budget = self.known(credential).get(bucket)
        if budget is not None and budget.remaining < budget.limit:
            budget.remaining += 1

    def note_headers(
        self, credential: Credential, bucket: str, headers: Mapping[str, str], now: float, unix_seconds: float
    ) -> None:
        """Take in what an answer tells of its budget. Within a window less is believed, more is not: answers overtake.

        `headers` is case-insensitive; `unix_seconds` is now by the clock that GitHub's reset is compared with.
        """
        told = [headers.get(f"X-RateLimit-{name}", "") for name in ("Limit", "Remaining", "Reset")]
        if not all(text.isascii() and text.isdigit() for text in told):
            budget = self.known(credential).get(bucket)
            if budget is not None and not budget.is_told:
                self.give_back(credential, bucket)  # nothing is counted, or nobody tells: it is under way no more
            return
        limit, remaining, reset_unix = int(told[0][:9]), int(told[1][:9]), int(told[2][:12])
        counted_as = headers.get("X-RateLimit-Resource", bucket)
        if counted_as != bucket:
            self.give_back(credential, bucket)
            if not _BUCKET.fullmatch(counted_as):
                return
        # GitHub's windows are an hour at most: a wrong clock, theirs or ours, is not to stop us for longer.
        reset = now + min(max(reset_unix - unix_seconds, 0.0), 3600.0)
        budget = self._budget(credential.identity, counted_as)
        if _take_window(budget, Budget(limit, remaining, reset), now):
            budget.is_news = True

    def note_limit(self, credential: Credential, bucket: str, limit: Limit, now: float) -> float:
        """Put a credential to rest as a limit says; for how many seconds."""
        if limit.kind == "primary":
            until = now + limit.retry_after_seconds
            budget = self._budget(credential.identity, bucket)
            # The window is over then, whatever the headers said of it.
            budget.remaining, budget.reset, budget.is_told = 0, until, True
        else:
            budget = self._budget(credential.identity, EVERY_BUCKET)
            until = now + self._whole_rest_seconds(budget, limit, now)
        if until > budget.rests_until:
            budget.rests_until, budget.reason = until, limit.kind
        budget.is_news = True
        return until - now

    def _whole_rest_seconds(self, budget: Budget, limit: Limit, now: float) -> float:
        if limit.kind == "refused":
            return REFUSED_REST_SECONDS
        if now >= budget.rests_until:
            budget.strikes = budget.strikes + 1 if now - budget.rests_until < QUIET_SECONDS else 1
        # Otherwise it was under way when the rest began: many at once are one.
        if limit.is_stated:
            return limit.retry_after_seconds
        # GitHub: wait a minute at least, then exponentially longer; going on may get the integration banned.
        backed_off: float = limit.retry_after_seconds * 2.0 ** min(max(budget.strikes - 1, 0), 10)
        return min(backed_off, LONGEST_SECONDARY_REST_SECONDS)

    def is_recheck_due(self, credential: Credential, now: float) -> bool:
        """Whether a refused credential's rest is about to end: it should be looked at before it is used again."""
        rest = self.known(credential).get(EVERY_BUCKET)
        return rest is not None and rest.reason == "refused" and 0 < rest.rests_until - now < RECHECK_SECONDS

    def known(self, credential: Credential) -> Mapping[str, Budget]:
        """What is known of a credential, by bucket."""
        return self._known.get(credential.identity, {})

    def take_news(self) -> list[tuple[str, str, Budget]]:
        """What was learnt here since the last call: identity, bucket, budget."""
        news = [
            (identity, bucket, budget)
            for identity, known in self._known.items()
            for bucket, budget in known.items()
            if budget.is_news
        ]
        for _, _, budget in news:
            budget.is_news = False
        return news

    def learn(self, told: Iterable[tuple[str, str, Budget]], now: float) -> None:
        """Take in what other replicas have learnt."""
        for identity, bucket, theirs in told:
            budget = self._budget(identity, bucket)
            _take_window(budget, theirs, now)
            if theirs.reason is not None and theirs.rests_until > budget.rests_until:
                budget.rests_until, budget.reason = theirs.rests_until, theirs.reason
                budget.strikes = theirs.strikes

    def _budget(self, identity: str, bucket: str) -> Budget:
        known = self._known.setdefault(identity, {})
        self._known.move_to_end(identity)
        if len(self._known) > MOST_CREDENTIALS:
            self._known.popitem(last=False)
        budget = known.get(bucket)
        if budget is None:
            budget = Budget()
            if len(known) < MOST_BUCKETS or bucket == EVERY_BUCKET:
                known[bucket] = budget
        return budget


def _reserved(budget: Budget) -> int:
    return math.ceil(budget.limit * RESERVED_SHARE)


def _take_window(known: Budget, told: Budget, now: float) -> bool:
    """Take in what is told of a window; whether that was anything new."""
    if not told.limit or told.reset <= now:
        return False
    before = (known.limit, known.remaining, known.reset, known.is_told)
    is_running = known.reset > now
    if not is_running or not known.is_told or told.reset > known.reset + SAME_WINDOW_SECONDS:
        # Of what was sent while the window was assumed, GitHub may not have counted all yet.
        sent = known.limit - known.remaining if is_running and not known.is_told else 0
        known.remaining = max(min(told.remaining, told.limit - sent), 0)
        known.limit, known.reset, known.is_told = told.limit, told.reset, True
    elif told.reset > known.reset - SAME_WINDOW_SECONDS:
        known.limit, known.remaining = told.limit, min(known.remaining, told.remaining)
    return before != (known.limit, known.remaining, known.reset, known.is_told)


def _assumed_limit(credential: Credential, bucket: str) -> int:
    limits = ASSUMED_ANONYMOUS_LIMITS if credential.kind == "anonymous" else ASSUMED_LIMITS
    return limits.get(bucket, limits["core"])


def _rank(identity: str, resource: str) -> bytes:
    """Rendezvous hashing: without one of the credentials only its own resources move."""
    return hashlib.blake2b(f"{identity} {resource}".encode(), digest_size=8).digest()

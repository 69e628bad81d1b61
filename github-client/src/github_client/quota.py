"""GitHub's limits, kept: what each credential has left of each bucket, which may be asked, which rest. Pure.

Times are seconds of one monotonic clock, handed in. What other replicas learn comes in by `learn`.
"""

import hashlib
import math
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
"""After that a refused credential is looked at again, at no cost: GitHub has refused good ones by mistake."""
LONGEST_SECONDARY_REST_SECONDS = 3600.0
QUIET_SECONDS = 3600.0
"""A secondary limit that comes so long after the last one is a first one again."""
SAME_WINDOW_SECONDS = 10.0
"""Resets that differ by less are one: GitHub tells whole seconds, and clocks differ."""
EVERY_BUCKET = "*"
"""Where secondary limits and refusals are kept: they befall the credential as a whole."""
MOST_BUCKETS = 16
"""Per credential: a bucket is named by a header of GitHub's, and no header may fill the memory."""
Reason = Literal["primary", "secondary", "refused"]


class Budget(msgspec.Struct):
    """What is known of one bucket of one credential; times are monotonic, 0 is long ago."""

    limit: int = 0
    """Requests in a window; 0 while GitHub has not told."""
    remaining: int = 0
    reset: float = 0.0
    """When the window ends and the budget is whole again."""
    rests_until: float = 0.0
    reason: Reason | None = None
    strikes: int = 0
    """Secondary limits in a row."""


class QuotaKeeper:
    """Who may ask GitHub for what, by all that its answers have told."""

    def __init__(self) -> None:
        self._budgets: dict[tuple[str, str], Budget] = {}
        self._changed: set[tuple[str, str]] = set()

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
                budget = self._budgets.get((credential.identity, bucket))
                if budget is not None and budget.remaining > 0:
                    budget.remaining -= 1
                return credential
            waits.append(wait_seconds)
        raise UpstreamLimited("GitHub's rate limit is used up.", retry_after_seconds=max(1, math.ceil(min(waits))))

    def wait_seconds(self, credential: Credential, bucket: str, purpose: Purpose, now: float) -> float:
        """How long until the credential may be used; 0 when it may be now."""
        rest = self._budgets.get((credential.identity, EVERY_BUCKET))
        wait_seconds = rest.rests_until - now if rest is not None else 0.0
        budget = self._budgets.get((credential.identity, bucket))
        if budget is not None:
            wait_seconds = max(wait_seconds, budget.rests_until - now)
            kept = math.ceil(budget.limit * RESERVED_SHARE) if purpose == "background" else 0
            if budget.limit and budget.remaining <= kept:
                wait_seconds = max(wait_seconds, budget.reset - now)
        return max(wait_seconds, 0.0)

    def give_back(self, credential: Credential, bucket: str) -> None:
        """Take back the charge for a request that cost nothing: a 304, or one that never arrived."""
        budget = self._budgets.get((credential.identity, bucket))
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
            return
        limit, remaining, reset_unix = (int(text[:12]) for text in told)
        bucket = headers.get("X-RateLimit-Resource", bucket)[:40]
        # GitHub's windows are an hour at most: a wrong clock, theirs or ours, is not to stop us for longer.
        reset = now + min(max(reset_unix - unix_seconds, 0.0), 3600.0)
        self._merge(credential.identity, bucket, Budget(limit, remaining, reset))

    def note_limit(self, credential: Credential, bucket: str, limit: Limit, now: float) -> float:
        """Put a credential to rest as a limit says; for how many seconds."""
        if limit.kind == "primary":
            until = now + limit.retry_after_seconds
            budget = self._budget(credential.identity, bucket)
            # The window is over then, whatever the headers said of it.
            budget.remaining, budget.reset = 0, until
        else:
            budget = self._budget(credential.identity, EVERY_BUCKET)
            until = now + self._whole_rest_seconds(budget, limit, now)
        budget.rests_until = max(budget.rests_until, until)
        budget.reason = limit.kind
        self._changed.add((credential.identity, bucket if limit.kind == "primary" else EVERY_BUCKET))
        return until - now

    def _whole_rest_seconds(self, budget: Budget, limit: Limit, now: float) -> float:
        if limit.kind == "refused":
            return REFUSED_REST_SECONDS
        budget.strikes = budget.strikes + 1 if now - budget.rests_until < QUIET_SECONDS else 1
        if limit.is_stated:
            return limit.retry_after_seconds
        # GitHub: wait a minute at least, then exponentially longer; going on may get the integration banned.
        backed_off: float = limit.retry_after_seconds * 2.0 ** min(budget.strikes - 1, 10)
        return min(backed_off, LONGEST_SECONDARY_REST_SECONDS)

    def known(self, credential: Credential) -> dict[str, Budget]:
        """What is known of a credential, by bucket."""
        return {
            bucket: budget for (identity, bucket), budget in self._budgets.items() if identity == credential.identity
        }

    def take_changed(self) -> list[tuple[str, str, Budget]]:
        """What was learnt here since the last call: identity, bucket, budget."""
        changed = [(*key, self._budgets[key]) for key in self._changed if key in self._budgets]
        self._changed.clear()
        return changed

    def learn(self, told: Iterable[tuple[str, str, Budget]]) -> None:
        """Take in what other replicas have learnt."""
        for identity, bucket, theirs in told:
            self._merge(identity, bucket, theirs, is_own=False)

    def _merge(self, identity: str, bucket: str, told: Budget, *, is_own: bool = True) -> None:
        known = self._budget(identity, bucket)
        before = (known.limit, known.remaining, known.reset)
        if not known.limit or told.reset > known.reset + SAME_WINDOW_SECONDS:
            known.limit, known.remaining, known.reset = told.limit, told.remaining, told.reset
        elif told.limit and told.reset > known.reset - SAME_WINDOW_SECONDS:
            known.limit, known.remaining = told.limit, min(known.remaining, told.remaining)
        if told.reason is not None and told.rests_until > known.rests_until:
            known.rests_until, known.reason, known.strikes = told.rests_until, told.reason, told.strikes
        if is_own and (known.limit, known.remaining, known.reset) != before:
            self._changed.add((identity, bucket))

    def _budget(self, identity: str, bucket: str) -> Budget:
        budget = self._budgets.get((identity, bucket))
        if budget is None:
            if bucket != EVERY_BUCKET and sum(known == identity for known, _ in self._budgets) >= MOST_BUCKETS:
                return Budget()
            budget = self._budgets[identity, bucket] = Budget()
        return budget


def _rank(identity: str, resource: str) -> bytes:
    """Rendezvous hashing: without one of the credentials only its own resources move."""
    return hashlib.blake2b(f"{identity} {resource}".encode(), digest_size=8).digest()

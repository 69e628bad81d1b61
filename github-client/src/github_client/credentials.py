"""Credentials: a caller's own token, the operator's tokens in turn, or none; never shown in a repr."""

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

from pydantic import SecretStr

from github_client.protocol import TOKEN
from service_kit.errors import Unauthorized, UpstreamLimited

REFUSED_REST_SECONDS = 300
Bucket = Literal["core", "search"]


class Credential:
    """What goes into `Authorization`, and for whom. `name` may be logged, the token may not."""

    __slots__ = ("_token", "kind", "name")

    def __init__(self, kind: Literal["anonymous", "caller", "operator"], name: str, token: str = "") -> None:
        self.kind = kind
        self.name = name
        self._token = SecretStr(token)

    def __repr__(self) -> str:
        return f"Credential({self.kind!r}, {self.name!r})"

    @property
    def identity(self) -> str:
        """Tells credentials apart without giving the token away."""
        return hashlib.sha256(self._token.get_secret_value().encode()).hexdigest()

    def headers(self) -> dict[str, str]:
        """The `Authorization` header, or nothing for anonymous access."""
        token = self._token.get_secret_value()
        return {"Authorization": f"Bearer {token}"} if token else {}


ANONYMOUS = Credential("anonymous", "anonymous")


def caller_credential(token: str) -> Credential:
    """A caller's token, of any kind GitHub has issued. Raises Unauthorized for what cannot be one."""
    if not TOKEN.fullmatch(token):
        raise Unauthorized("The token is not one that GitHub could have issued.")
    return Credential("caller", "caller", token)


def credential_in(authorization: str | None) -> Credential | None:
    """The caller's credential in an `Authorization` header: `Bearer T`, `token T`, or bare, as the first client does.

    None without one. Raises Unauthorized for another scheme.
    """
    words = (authorization or "").split()
    if not words:
        return None
    if len(words) == 1:
        return caller_credential(words[0])
    if len(words) == 2 and words[0].lower() in {"bearer", "token"}:
        return caller_credential(words[1])
    raise Unauthorized("Authorization should be: Bearer TOKEN.")


class OperatorCredentials:
    """The operator's credentials, used in turn; one that is limited or refused rests until its time has come.

    GitHub counts `core` and `search` requests apart, so a credential rests for one bucket. Times are of a monotonic
    clock, in seconds. Without any credential access is anonymous, and rests likewise.
    """

    def __init__(self, configured: Sequence[Credential]) -> None:
        self._configured = tuple(configured)
        self._stored: tuple[Credential, ...] = ()
        self._rests_until: dict[tuple[str, Bucket], float] = {}
        self._turn = 0

    def replace_stored(self, stored: Sequence[Credential]) -> None:
        """Take the accounts as they are in the database now."""
        self._stored = tuple(stored)

    def all(self) -> tuple[Credential, ...]:
        """Every credential of the operator's; the anonymous one when there are none."""
        return self._configured + self._stored or (ANONYMOUS,)

    def choose(self, bucket: Bucket, now: float) -> Credential:
        """The next credential that does not rest. Raises UpstreamLimited when all do."""
        candidates = self.all()
        self._turn += 1
        rests = {one.name: self._rests_until.get((one.name, bucket), 0.0) for one in candidates}
        for offset in range(len(candidates)):
            candidate = candidates[(self._turn + offset) % len(candidates)]
            if rests[candidate.name] <= now:
                return candidate
        seconds = max(1, math.ceil(min(rests.values()) - now))
        raise UpstreamLimited("GitHub's rate limit is used up.", retry_after_seconds=seconds)

    def rest(self, credential: Credential, bucket: Bucket, until: float) -> None:
        """Do not choose this credential for this bucket before `until`."""
        self._rests_until[credential.name, bucket] = until

"""Whose request it is: the tokens that the imitation knows, and what `Authorization` says."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from local.imitation_github.world import (
    ORGANIZATION_LOGIN,
    OWNER_LOGIN,
    READER_LOGIN,
    SECOND_READER_LOGIN,
    Account,
)

READER_TOKEN = "ghp_imitation0reader00000000000000000000"  # noqa: S105
"""No scopes: what an operator should have. Belongs to `tobin-varga`."""
SECOND_READER_TOKEN = "ghp_imitation0second00000000000000000000"  # noqa: S105
"""No scopes either. Belongs to `liuyunhe`."""
OWNER_TOKEN = "ghp_imitation0owner000000000000000000000"  # noqa: S105
"""Scopes `repo, user`; expires. Belongs to `mira-tallow`, who owns private repositories, her organisation's too."""
FINE_GRAINED_TOKEN = "github_pat_11IMITATION0000000000_imitation0fine0grained00000000000000000000"  # noqa: S105
"""A fine-grained token of `mira-tallow`'s, for public things only; such tokens have no scopes to show."""
REVOKED_TOKEN = "ghp_imitation0revoked0000000000000000000"  # noqa: S105
"""Once was good; answered as any unknown token is."""
CLIENT_ID, CLIENT_SECRET = "Iv1.imitation0000000", "imitation0secret000000000000000000000000"
"""An OAuth app's, for Basic authentication: public data only, 5,000 requests an hour."""


class BadCredentials(Exception):
    """The `Authorization` header is of no credential that is known."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is. `identity` may be logged and has the budgets: all tokens of a user share theirs."""

    identity: str
    login: str | None = None
    scopes: tuple[str, ...] | None = None
    """None where there are none to show: no token, a fine-grained one, an app."""
    owned: frozenset[str] = frozenset()
    """Whose private repositories it reaches."""
    expires: str | None = None

    @property
    def is_signed_in(self) -> bool:
        """Whether a person is behind it."""
        return self.login is not None

    @property
    def has_credential(self) -> bool:
        """Whether it has the greater budgets."""
        return not self.identity.startswith("anonymous")

    @property
    def logged(self) -> str:
        """The identity without an address."""
        return self.identity if self.has_credential else "anonymous"

    def owns(self, account: Account) -> bool:
        """Whether it reaches this account's private repositories."""
        return account.login in self.owned


_APP = Caller(f"app:{CLIENT_ID}")
_TOKENS = {
    READER_TOKEN: Caller(f"user:{READER_LOGIN}", READER_LOGIN, ()),
    SECOND_READER_TOKEN: Caller(f"user:{SECOND_READER_LOGIN}", SECOND_READER_LOGIN, ()),
    OWNER_TOKEN: Caller(
        f"user:{OWNER_LOGIN}",
        OWNER_LOGIN,
        ("repo", "user"),
        frozenset({OWNER_LOGIN, ORGANIZATION_LOGIN}),
        "2031-02-04 16:42:10 UTC",
    ),
    FINE_GRAINED_TOKEN: Caller(f"user:{OWNER_LOGIN}", OWNER_LOGIN, expires="2031-02-04 16:42:10 UTC"),
}


def caller_of(headers: Mapping[str, str], remote: str | None) -> Caller:
    """Read `Authorization`: `Bearer T`, `token T`, or Basic with an app's id and secret or with a token as password.

    Raises BadCredentials.
    """
    authorization = headers.get("Authorization")
    if authorization is None:
        return Caller(f"anonymous:{remote}")
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "basic":
        user, password = _basic(value.strip())
        if (user, password) == (CLIENT_ID, CLIENT_SECRET):
            return _APP
        value = password
    elif scheme.lower() not in {"bearer", "token"}:
        raise BadCredentials
    caller = _TOKENS.get(value.strip())
    if caller is None:
        raise BadCredentials
    return caller


def _basic(value: str) -> tuple[str, str]:
    try:
        user, separator, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise BadCredentials from None
    if not separator:
        raise BadCredentials
    return user, password

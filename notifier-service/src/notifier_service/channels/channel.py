"""What a channel is: one kind of place where a message can be delivered."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from notifier_service.models import Answer, Claimed
from notifier_service.settings import NotifierSettings
from service_kit.database import Database
from service_kit.metrics import Metrics


class Channel(Protocol):
    """One kind of place to deliver to. One instance serves all of its endpoints."""

    @property
    def name(self) -> str:
        """As in `endpoint.channel`."""

    @property
    def timeout_seconds(self) -> float:
        """What a send takes at most, all in all; it is cancelled after that."""

    @property
    def concurrency(self) -> int:
        """Sends at once in one process."""

    async def send(self, claimed: Claimed) -> Answer:
        """Tell the receiver once. Raises Unreachable; anything else it raises counts as that and is an alert."""


@dataclass(frozen=True)
class Means:
    """What channels are made with."""

    settings: NotifierSettings
    database: Database
    metrics: Metrics


Config = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """A channel as the registry has it: how it is opened, and what its endpoints are like."""

    open: Callable[[Means], AbstractAsyncContextManager[Channel]]
    check_address: Callable[[str, Config], str]
    """The address in the form in which it is kept, for such a `config`.

    Raises ValueError, whose text is for whoever subscribes and does not quote the address.
    """
    is_signed: bool = False
    """Its endpoints have a secret (Standard Webhooks)."""
    is_challenged: bool = False
    """Its endpoints are strangers': each shows first that it wants messages (`Webhook.challenge`)."""
    rate_per_second: float | None = None
    """How many messages one of its endpoints takes a second; None: any number."""
    burst: int = 1
    """How many of them at once after a rest."""
    from_settings: Callable[[NotifierSettings], Sequence[str]] = lambda _settings: ()
    """The names, `settings:…`, of endpoints whose addresses are in the settings; they are told of alerts."""


def only_from_settings(_address: str, _config: Config) -> str:
    """As `check_address` of a channel whose endpoints nobody may add."""
    raise ValueError("endpoints of this channel are made from the settings alone")

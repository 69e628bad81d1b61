"""Channels: one file for each kind of place where a message can be delivered, and one line here."""

from collections.abc import Callable, Mapping
from typing import Protocol

import aiohttp

from notifier_service.channels.slack import Slack
from notifier_service.models import Answer, Claimed
from notifier_service.settings import NotifierSettings


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


REGISTRY: Mapping[str, Callable[[NotifierSettings, aiohttp.ClientSession], Channel]] = {
    "slack": lambda settings, session: Slack(session, settings.slack_webhook_url),
}
"""By name, how to make it. The session logs no paths: addresses are secrets."""

"""Channels: one file for each place where a message can be delivered."""

from typing import Protocol

from notifier_service.models import Answer, Claimed


class Channel(Protocol):
    """Somewhere to deliver to."""

    @property
    def name(self) -> str:
        """As in `delivery.channel`."""

    async def send(self, delivery: Claimed) -> Answer:
        """Tell the receiver once, within the channel's deadline. Raises Unreachable."""

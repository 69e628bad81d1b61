"""Channels: one file for each kind of place where a message can be delivered, and one line here."""

from collections.abc import Mapping

from notifier_service.channels import alerts, slack, webhook, wechat
from notifier_service.channels.channel import Channel, Kind, Means

REGISTRY: Mapping[str, Kind] = {
    "alerts": alerts.KIND,
    "slack": slack.KIND,
    "webhook": webhook.KIND,
    "wechat": wechat.KIND,
}
"""By name, as in `endpoint.channel`."""

__all__ = ["REGISTRY", "Channel", "Kind", "Means"]

"""The notifier's settings."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr
from yarl import URL

from notifier_service.operator_key import OperatorKey
from service_kit.settings import Port, PostgresUrl, SecretKey, ServiceSettings


def _webhook_url(value: SecretStr) -> SecretStr:
    try:
        # As aiohttp will read it: what it cannot read it would quote in its complaint.
        url = URL(value.get_secret_value())
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("should be an http:// or https:// URL")
    return value


class NotifierSettings(ServiceSettings):
    """What the notifier reads from the environment."""

    port: Port = 8084
    database_url: PostgresUrl
    secret_key: SecretKey
    """What endpoints' addresses and secrets are encrypted under."""
    operator_key: OperatorKey | None = None
    """Opens the routes for operators; unset: there are none."""
    slack_webhook_url: Annotated[SecretStr, AfterValidator(_webhook_url)] | None = None
    """Where alerts go; unset: they are logged and marked as skipped. Whoever knows it can post, so it is a secret."""
    webhook_private_addresses: bool = False
    """Whether subscribers' webhooks may be in our own network; for demonstrations only."""

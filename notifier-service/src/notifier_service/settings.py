"""The notifier's settings."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

from service_kit.settings import Port, PostgresUrl, ServiceSettings


def _webhook_url(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("should be an http:// or https:// URL")
    return value


class NotifierSettings(ServiceSettings):
    """What the notifier reads from the environment."""

    port: Port = 8084
    database_url: PostgresUrl
    slack_webhook_url: Annotated[SecretStr, AfterValidator(_webhook_url)] | None = None
    """Where alerts go; unset: they are logged and marked as skipped. Whoever knows it can post, so it is a secret."""

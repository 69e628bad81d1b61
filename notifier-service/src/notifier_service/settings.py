"""The notifier's settings."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, SecretStr, model_validator
from pydantic_settings import NoDecode
from yarl import URL

from notifier_service.alert_urls import check_alert_urls, split_alert_urls
from notifier_service.operator_key import OperatorKey
from notifier_service.wechat.push_messages import aes_key
from service_kit.settings import HttpUrl, Port, PostgresUrl, SecretKey, ServiceSettings


def _webhook_url(value: SecretStr) -> SecretStr:
    try:
        # As aiohttp will read it: what it cannot read it would quote in its complaint.
        url = URL(value.get_secret_value())
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("should be an http:// or https:// URL")
    return value


def _alert_urls(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    urls = split_alert_urls(value)
    check_alert_urls(urls)
    return [SecretStr(url) for url in urls]


def _aes_key(value: SecretStr) -> SecretStr:
    aes_key(value.get_secret_value())
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
    alert_urls: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_alert_urls)] = ()
    """Where else alerts go: URLs of apprise, separated by commas or spaces. Secrets, as they hold keys."""
    webhook_private_addresses: bool = False
    """Whether subscribers' webhooks may be in our own network; for demonstrations only."""
    wechat_api_url: HttpUrl = "https://api.weixin.qq.com"
    wechat_app_id: str | None = None
    """The mini-program's AppID; with the secret or not at all. Unset: messages to WeChat are marked as skipped."""
    wechat_app_secret: SecretStr | None = None
    wechat_push_token: SecretStr | None = None
    """The Token of WeChat's message push; unset: `/v1/wechat/push` is not there, and nothing feeds the ledger."""
    wechat_push_aes_key: Annotated[SecretStr, AfterValidator(_aes_key)] | None = None
    """Its EncodingAESKey; set: pushes must be encrypted."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if (self.wechat_app_id is None) != (self.wechat_app_secret is None):
            raise ValueError("WECHAT_APP_ID and WECHAT_APP_SECRET go together")
        if self.wechat_push_token is not None and self.wechat_app_id is None:
            raise ValueError("WECHAT_PUSH_TOKEN needs WECHAT_APP_ID")
        return self

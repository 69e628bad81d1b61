"""Settings: read once from the environment, typed, and refused at the start with one line that names what is wrong."""

from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("should be an http:// or https:// URL without a query")
    if parts.username or parts.password:
        raise ValueError("should not carry credentials")
    return value.rstrip("/")


def _postgres_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("should be a postgresql:// URL")
    return value


def _secret_key(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 32:
        raise ValueError("should have at least 32 characters")
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]
"""An upstream's base URL, without a trailing slash."""
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]
"""A libpq URL; secret because it may carry a password."""
SecretKey = Annotated[SecretStr, AfterValidator(_secret_key)]
"""What stored credentials are encrypted with."""
Port = Annotated[int, Field(ge=1, le=65535)]
_LowerCase = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)


class ServiceSettings(BaseSettings):
    """What each service reads; a service adds its own fields, and `port` with its default."""

    # hide_input_in_errors: a wrong secret must not be printed with the complaint about it.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: Port
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _LowerCase] = "info"
    log_format: Annotated[Literal["json", "console"], _LowerCase] = "json"


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load_settings(settings_class: type[SettingsT]) -> SettingsT:
    """Read the settings from the environment.

    Raises SystemExit (status 1) with one line that names each missing or wrong setting, never its value.
    """
    try:
        return settings_class()
    except ValidationError as error:
        complaints = "; ".join(
            f"{'.'.join(str(part) for part in one['loc']).upper()}: {_complaint(one['type'], one['msg'])}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise SystemExit(f"settings: {complaints}") from None


def _complaint(kind: str, message: str) -> str:
    return "missing" if kind == "missing" else message.removeprefix("Value error, ")

"""The notifier's settings."""

import pytest

from notifier_service.settings import NotifierSettings
from service_kit.settings import load_settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql:///wegit")
    monkeypatch.setenv("SECRET_KEY", "a secret key that is long enough to be one")
    monkeypatch.delenv("OPERATOR_KEY", raising=False)
    monkeypatch.delenv("SLACK_WEBHOOK_URL", raising=False)
    monkeypatch.delenv("PORT", raising=False)


def test_only_the_database_and_the_key_are_needed() -> None:
    settings = load_settings(NotifierSettings)

    assert settings.port == 8084
    assert settings.slack_webhook_url is None
    assert settings.operator_key is None


def test_empty_webhook_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "")

    assert load_settings(NotifierSettings).slack_webhook_url is None


def test_webhook_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hooks.slack.example/services/swordfish")

    assert "swordfish" not in repr(load_settings(NotifierSettings))


@pytest.mark.parametrize(
    "url",
    [
        "hooks.slack.example/services/swordfish",
        "ftp://hooks.slack.example/services/swordfish",
        "https:///services/swordfish",
        "https://hooks.slack.example:99999/services/swordfish",
        "https://[hooks/services/swordfish",
    ],
)
def test_wrong_webhook_stops_the_start_without_being_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", url)
    with pytest.raises(SystemExit) as stopped:
        load_settings(NotifierSettings)

    assert str(stopped.value) == "settings: SLACK_WEBHOOK_URL: should be an http:// or https:// URL"

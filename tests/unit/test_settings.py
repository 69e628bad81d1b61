"""A wrong setting stops the start with one line that names it and never shows its value."""

import pytest

from repo_service.app import Settings
from service_kit.settings import load_settings

GOOD = {"DATABASE_URL": "postgresql://wegit:hidden@db/wegit", "SECRET_KEY": "k" * 32}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "GITHUB_TOKENS", "GITHUB_API_URL", "LOG_LEVEL", "LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_good_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKENS", "ghp_one, ghp_two,")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    settings = load_settings(Settings)
    assert settings.port == 8081
    assert settings.log_level == "debug"
    assert [credential.name for credential in settings.operator_credentials()] == [
        "GITHUB_TOKENS[0]",
        "GITHUB_TOKENS[1]",
    ]


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKENS", "ghp_visible")
    settings = load_settings(Settings)
    shown = repr(settings) + repr(settings.operator_credentials())
    for secret in ("hidden", "k" * 32, "ghp_visible"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", None),
        ("DATABASE_URL", "mysql://wegit:hidden@db"),
        ("SECRET_KEY", "hidden"),
        ("PORT", "eighty-hidden"),
        ("PORT", "0"),
        ("GITHUB_API_URL", "ftp://hidden"),
        ("GITHUB_API_URL", "https://user:hidden@api.github.com"),
        ("LOG_FORMAT", "hidden"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        load_settings(Settings)
    line = str(caught.value)
    assert name in line
    assert "hidden" not in line
    assert "\n" not in line

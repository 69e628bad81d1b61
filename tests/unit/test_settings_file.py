"""The settings file: fresh secrets where there are none, everything else untouched; and an example that is complete."""

import re
import shutil
import stat
from pathlib import Path

import pytest

from developer_service.app import Settings as DeveloperSettings
from gateway.app import Settings as GatewaySettings
from local.settings_file import ROOT, SECRETS, ensure_settings_file, read_settings
from notifier_service.settings import NotifierSettings
from repo_service.app import Settings as RepoSettings
from search_service.app import Settings as SearchSettings
from service_kit.settings import ServiceSettings

EXAMPLE = ROOT / ".env.example"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    shutil.copy(EXAMPLE, tmp_path)
    return tmp_path / ".env"


def test_a_missing_file_is_made_with_fresh_secrets(file: Path) -> None:
    assert ensure_settings_file(file) == list(SECRETS)
    assert min(len(read_settings({}, file)[name]) for name in SECRETS) >= 32


def test_secrets_differ_between_files(file: Path) -> None:
    ensure_settings_file(file)
    first = read_settings({}, file)["SECRET_KEY"]
    file.unlink()
    ensure_settings_file(file)
    assert read_settings({}, file)["SECRET_KEY"] != first


def test_only_the_owner_can_read_the_file(file: Path) -> None:
    ensure_settings_file(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_secrets_that_are_there_stay(file: Path) -> None:
    ensure_settings_file(file)
    before = file.read_text()
    assert ensure_settings_file(file) == []
    assert file.read_text() == before


def test_an_empty_secret_is_filled_in_and_the_rest_stays(file: Path) -> None:
    file.write_text("SECRET_KEY=\nGATEWAY_PORT=9000\nPOSTGRES_PASSWORD=mine\n")
    assert ensure_settings_file(file) == ["SECRET_KEY"]
    assert re.fullmatch(r"SECRET_KEY=[\w-]{43}\nGATEWAY_PORT=9000\nPOSTGRES_PASSWORD=mine\n", file.read_text())


def test_the_real_environment_wins(file: Path) -> None:
    file.write_text("GATEWAY_PORT=9000\nLOG_LEVEL=debug\n")
    assert read_settings({"GATEWAY_PORT": "9001"}, file) == {"GATEWAY_PORT": "9001", "LOG_LEVEL": "debug"}


def test_an_empty_value_is_none(file: Path) -> None:
    file.write_text("DATABASE_URL=\n")
    assert read_settings({}, file) == {}


def test_a_dollar_is_a_dollar(file: Path) -> None:
    file.write_text("SLACK_WEBHOOK_URL=https://hooks.example/${HOME}\n")
    assert read_settings({}, file) == {"SLACK_WEBHOOK_URL": "https://hooks.example/${HOME}"}


@pytest.mark.parametrize(
    "settings", [GatewaySettings, RepoSettings, DeveloperSettings, SearchSettings, NotifierSettings]
)
def test_the_example_names_every_setting_with_its_default(settings: type[ServiceSettings]) -> None:
    example = dict(re.findall(r"^#? ?([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    for name, field in settings.model_fields.items():
        variable = str(field.validation_alias or name).upper()
        assert variable in example
        if isinstance(field.default, str | int) and variable != "PORT":
            default = str(field.default)
            assert example[variable] == (default.lower() if isinstance(field.default, bool) else default)

"""Settings of the trending pages: what is refused at the start, with one line that says why."""

import pytest

from repo_service.app import Settings
from service_kit.settings import load_settings

NEEDED = {"DATABASE_URL": "postgresql://somewhere/wegit", "SECRET_KEY": "k" * 32}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    for name in ("GITHUB_WEB_URL", "TRENDING_LANGUAGES", "TRENDING_INTERVAL_SECONDS", "TRENDING_PAGE_INTERVAL_SECONDS"):
        monkeypatch.delenv(name, raising=False)


def test_five_seconds_lie_between_requests_by_default() -> None:
    assert load_settings(Settings).trending_interval_seconds == 5


@pytest.mark.parametrize("url", ["https://github.com", "https://github.com/", "http://www.github.com"])
def test_github_itself_is_not_asked_faster(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TRENDING_INTERVAL_SECONDS", "4.9")
    monkeypatch.setenv("GITHUB_WEB_URL", url)
    with pytest.raises(SystemExit, match=r"^settings: TRENDING_INTERVAL_SECONDS: should be at least 5") as stopped:
        load_settings(Settings)
    assert "\n" not in str(stopped.value)


def test_an_imitation_may_be_asked_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRENDING_INTERVAL_SECONDS", "0.05")
    monkeypatch.setenv("GITHUB_WEB_URL", "http://127.0.0.1:9000")
    assert load_settings(Settings).trending_interval_seconds == 0.05


def test_a_page_of_github_itself_is_not_fetched_again_within_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(Settings).trending_page_interval_seconds == 600
    monkeypatch.setenv("TRENDING_PAGE_INTERVAL_SECONDS", "599")
    with pytest.raises(SystemExit, match=r"^settings: TRENDING_PAGE_INTERVAL_SECONDS: should be at least 600"):
        load_settings(Settings)
    monkeypatch.setenv("GITHUB_WEB_URL", "http://127.0.0.1:9000")
    assert load_settings(Settings).trending_page_interval_seconds == 599


def test_an_unknown_language_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRENDING_LANGUAGES", "python, rusty")
    with pytest.raises(
        SystemExit, match=r"^settings: TRENDING_LANGUAGES: 'rusty' is no language of GitHub's; near: .*"
    ):
        load_settings(Settings)

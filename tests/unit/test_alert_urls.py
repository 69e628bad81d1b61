"""ALERT_URLS: how several URLs are written, and which are refused, without being quoted."""

import subprocess
import sys

import pytest

from notifier_service.alert_urls import check_alert_urls, split_alert_urls


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("", []),
        (" , ", []),
        ("wecombot://key", ["wecombot://key"]),
        (
            "wecombot://key, dingtalk://token  feishu://token,lark://token",
            ["wecombot://key", "dingtalk://token", "feishu://token", "lark://token"],
        ),
        (
            "mailto://me:secret@example.org?to=a@example.org,b@example.org,tgram://1:token/chat",
            ["mailto://me:secret@example.org?to=a@example.org,b@example.org", "tgram://1:token/chat"],
        ),
        ("MAILTOS://me:secret@example.org", ["MAILTOS://me:secret@example.org"]),
    ],
)
def test_urls_are_separated(text: str, urls: list[str]) -> None:
    assert split_alert_urls(text) == urls


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("json://127.0.0.1/very-secret", "does not take json://"),
        ("wecombot://key,https://very-secret", "does not take https://"),
        ("syslog://very-secret", "does not take syslog://"),
        ("very-secret", "should be URLs"),
        ("wecombot://", "should be URLs"),
    ],
)
def test_other_schemes_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        split_alert_urls(text)
    assert "very-secret" not in str(refusal.value)


@pytest.mark.parametrize("url", ["tgram://VERYSECRET", "dingtalk://VERYSECRET@", "mailto://me:VERYSECRET@"])
def test_what_apprise_cannot_read_is_told_by_its_number(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="number 2"):
        check_alert_urls(["wecombot://abcdefghijkl", url])
    assert "VERYSECRET" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "url",
    [
        "wecombot://abcdefghijkl",
        "dingtalk://secret@tokentoken",
        "feishu://AAAA-BBBB",
        "lark://abcdefg",
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
        "mailto://user:password@example.com?to=a@example.com,b@example.com",
        "mailtos://user:password@example.com",
    ],
)
def test_every_scheme_is_known_to_apprise(url: str) -> None:
    check_alert_urls(split_alert_urls(url))


def test_without_urls_apprise_is_not_imported() -> None:
    code = "import sys, notifier_service.app; print('apprise' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"

"""What messages say, in both languages, and what Slack makes of it."""

from typing import Any

import pytest

from notifier_service.channels.slack import mrkdwn
from notifier_service.wording import KINDS, Language, NoWording, word

REPOSITORY = {
    "owner": "rust-lang",
    "name": "rust",
    "description": "Empowering everyone",
    "language": "Rust",
    "stars": 98765,
    "forks": 1234,
    "period_stars": 321,
    "rank": 3,
    "first_seen": "2026-11-23T10:00:00Z",
}
ENTERED = {
    "page": {"section": "repositories", "since": "daily", "language_slug": "rust", "spoken_language_code": None},
    "repository": REPOSITORY,
    "taken_at": "2026-11-23T10:00:00Z",
}
RELEASE = {
    "repository": "rust-lang/rust",
    "tag": "1.99.0",
    "name": "Rust 1.99",
    "html_url": "https://github.com/rust-lang/rust/releases/tag/1.99.0",
    "published_at": "2026-11-23T10:00:00Z",
    "prerelease": False,
    "excerpt": "What is\nnew",
}
DIGEST = {
    "since": "weekly",
    "pages": [
        {"language_slug": "rust", "language": "Rust", "repositories": [REPOSITORY, {"owner": "a", "name": "b"}]},
        {"language_slug": None, "language": None, "repositories": []},
    ],
    "as_of": "2026-11-23T10:00:00Z",
}
ALERT = {
    "service": "repo-service",
    "error": "KeyError",
    "where": "app.py:10 in get_repo",
    "message": "'stars'",
    "traceback": "Traceback …",
    "minute": "2026-11-23T10:07Z",
}


@pytest.mark.parametrize(
    ("topic", "body", "language", "said"),
    [
        (
            "trending.entered",
            ENTERED,
            "en",
            "*<https://github.com/rust-lang/rust|rust-lang/rust is newly trending>*\n"
            "Empowering everyone\n"
            "On GitHub's trending page for Rust, today, rank 3\n"
            "★ 98,765  +321 today",
        ),
        (
            "trending.entered",
            {**ENTERED, "page": {"since": "weekly", "language_slug": None}},
            "zh",
            "*<https://github.com/rust-lang/rust|rust-lang/rust 新上 GitHub 趋势榜>*\n"
            "Empowering everyone\n"
            "GitHub 趋势榜：全部语言，本周，第 3 名\n"
            "★ 98,765  本周 +321",
        ),
        (
            "trending.entered",
            {"page": {"since": "daily", "language_slug": "v"}, "repository": {"owner": "a", "name": "b"}},
            "en",
            "*<https://github.com/a/b|a/b is newly trending>*\nOn GitHub's trending page for v, today",
        ),
        (
            "release.published",
            RELEASE,
            "en",
            "*<https://github.com/rust-lang/rust/releases/tag/1.99.0|rust-lang/rust released 1.99.0>*\n"
            "Rust 1.99\nWhat is new",
        ),
        (
            "release.published",
            {**RELEASE, "prerelease": True, "name": "1.99.0", "excerpt": None},
            "zh",
            "*<https://github.com/rust-lang/rust/releases/tag/1.99.0|rust-lang/rust 发布了 1.99.0>*\n预发布版本",
        ),
        (
            "trending.digest",
            DIGEST,
            "en",
            "*Trending on GitHub this week: Rust, all languages*\n"
            "— Rust —\n"
            "<https://github.com/rust-lang/rust|1. rust-lang/rust  +321★  Empowering everyone>\n"
            "<https://github.com/a/b|2. a/b>\n"
            "— all languages —",
        ),
        (
            "trending.digest",
            {**DIGEST, "pages": DIGEST["pages"][:1], "since": "daily"},
            "zh",
            "*GitHub 今日趋势：Rust*\n"
            "<https://github.com/rust-lang/rust|1. rust-lang/rust  +321★  Empowering everyone>\n"
            "<https://github.com/a/b|2. a/b>",
        ),
        (
            "alert",
            ALERT,
            "en",
            "*repo-service: KeyError at app.py:10 in get_repo*\n2026-11-23T10:07Z, 3 times so far\n'stars'\n```Traceback …```",
        ),
        (
            "alert",
            {**ALERT, "traceback": ""},
            "zh",
            "*repo-service：KeyError，位置 app.py:10 in get_repo*\n2026-11-23T10:07Z，至今 3 次\n'stars'",
        ),
        ("subscription.test", {}, "en", "*A test message from WeGit*\nThis endpoint receives messages."),
        ("subscription.test", {}, "zh", "*来自 WeGit 的测试消息*\n此处可以正常接收消息。"),
    ],
)
def test_message_in_words(topic: str, body: dict[str, Any], language: Language, said: str) -> None:
    assert mrkdwn(word(topic, body, language, 3)) == said


def test_description_cannot_mention_everybody_or_forge_a_link() -> None:
    body = {**ENTERED, "repository": {**REPOSITORY, "description": "<!channel> & <https://evil.example|hi>"}}

    assert "&lt;!channel&gt; &amp; &lt;https://evil.example|hi&gt;" in mrkdwn(word("trending.entered", body, "en"))


def test_long_traceback_keeps_its_end() -> None:
    said = word("alert", {**ALERT, "traceback": "x" * 5000 + "the error"}, "en").code

    assert len(said) == 2500
    assert said.endswith("the error")


def test_plain_text_has_every_line_and_link() -> None:
    assert word("trending.entered", ENTERED, "en").plain() == (
        "Empowering everyone\nOn GitHub's trending page for Rust, today, rank 3\n★ 98,765  +321 today\n"
        "https://github.com/rust-lang/rust"
    )


@pytest.mark.parametrize("topic", sorted(set(KINDS) - {"subscription.test"}))
def test_body_of_another_kind_has_no_wording(topic: str) -> None:
    with pytest.raises(NoWording, match=f"the body is no {topic}"):
        word(topic, {"poison": 1}, "en")


def test_unknown_topic_has_no_wording() -> None:
    with pytest.raises(NoWording, match=r"for the topic weather\.changed"):
        word("weather.changed", {}, "en")

"""The kind `release.published`: a watched repository has a new release."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from notifier_service.wording.parts import Line, Wording, short

TITLE = {"en": "{repository} released {tag}", "zh": "{repository} 发布了 {tag}"}
PRERELEASE = {"en": "A pre-release", "zh": "预发布版本"}


class Body(msgspec.Struct, frozen=True):
    """The message; `published_at` is RFC 3339."""

    repository: str
    tag: str
    html_url: str
    name: str | None = None
    published_at: str | None = None
    prerelease: bool = False
    excerpt: str | None = None


def word(body: Mapping[str, Any], language: Literal["en", "zh"], _occurrences: int) -> Wording:
    """Raises msgspec.ValidationError."""
    release = msgspec.convert(body, Body)
    name = short(release.name) if release.name != release.tag else ""
    texts = [PRERELEASE[language] if release.prerelease else "", name, short(release.excerpt, 500)]
    return Wording(
        title=Line(TITLE[language].format(repository=release.repository, tag=release.tag), release.html_url),
        lines=tuple(Line(text) for text in texts if text),
        facts={
            "repository": release.repository,
            "tag": release.tag,
            "name": release.name or release.tag,
            "excerpt": short(release.excerpt),
            "time": (release.published_at or "")[:16].replace("T", " "),
        },
    )

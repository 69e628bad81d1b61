"""What every wording is made of. Pure."""

import msgspec

from notifier_service.wording.shortening import shortened

GITHUB = "https://github.com"
PERIOD = {
    "en": {"daily": "today", "weekly": "this week", "monthly": "this month"},
    "zh": {"daily": "今日", "weekly": "本周", "monthly": "本月"},
}
ALL_LANGUAGES = {"en": "all languages", "zh": "全部语言"}
SHORT_CHARACTERS = 200


class Line(msgspec.Struct, frozen=True):
    """One line of text, and where it leads to."""

    text: str
    url: str = ""


class Wording(msgspec.Struct, frozen=True):
    """A message in words, not yet escaped or fitted for any place."""

    title: Line
    lines: tuple[Line, ...] = ()
    code: str = ""
    """What is to be shown as it is, with its line breaks."""
    facts: dict[str, str] = {}
    """By name, what the fields of a WeChat template can be filled with."""

    def plain(self) -> str:
        """All of it but the title, as plain text."""
        texts = [f"{line.text} {line.url}".strip() for line in self.lines]
        return "\n".join(text for text in [*texts, self.title.url, self.code] if text)


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository as trending messages carry it."""

    owner: str
    name: str
    description: str | None = None
    language: str | None = None
    stars: int | None = None
    period_stars: int | None = None

    @property
    def full_name(self) -> str:
        """owner/name"""
        return f"{self.owner}/{self.name}"

    @property
    def url(self) -> str:
        """Its page on GitHub."""
        return f"{GITHUB}/{self.full_name}"


def short(text: str | None, characters: int = SHORT_CHARACTERS) -> str:
    """On one line, cut where it is long."""
    return shortened(" ".join((text or "").split()), characters)

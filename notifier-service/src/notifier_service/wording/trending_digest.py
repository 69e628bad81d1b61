"""The kind `trending.digest`: what trends in chosen languages, once a day or week."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from notifier_service.wording.parts import ALL_LANGUAGES, PERIOD, Line, Repository, Wording, short

TITLE = {"en": "Trending on GitHub {period}: {pages}", "zh": "GitHub {period}趋势：{pages}"}
DESCRIPTION_CHARACTERS = 80


class Page(msgspec.Struct, frozen=True):
    """One trending page; both names are None for that of all languages together."""

    repositories: list[Repository]
    language_slug: str | None = None
    language: str | None = None


class Body(msgspec.Struct, frozen=True):
    """The message."""

    since: Literal["daily", "weekly", "monthly"]
    pages: list[Page]
    as_of: str = ""


def word(body: Mapping[str, Any], language: Literal["en", "zh"], _occurrences: int) -> Wording:
    """Raises msgspec.ValidationError."""
    told = msgspec.convert(body, Body)
    names = [page.language or page.language_slug or ALL_LANGUAGES[language] for page in told.pages]
    lines: list[Line] = []
    for name, page in zip(names, told.pages, strict=True):
        if len(told.pages) > 1:
            lines.append(Line(f"— {name} —"))
        lines += [_row(number, repository) for number, repository in enumerate(page.repositories, 1)]
    period = PERIOD[language][told.since]
    first = next((repository for page in told.pages for repository in page.repositories), None)
    title = TITLE[language].format(period=period, pages=", ".join(names))
    return Wording(
        title=Line(title),
        lines=tuple(lines),
        facts={
            "title": title,
            "pages": ", ".join(names),
            "period": period,
            "repository": first.full_name if first else "",
            "description": short(first.description) if first else "",
            "count": str(sum(len(page.repositories) for page in told.pages)),
            "time": told.as_of[:16].replace("T", " "),
        },
    )


def _row(number: int, repository: Repository) -> Line:
    gained = f"+{repository.period_stars:,}★" if repository.period_stars is not None else ""
    texts = [f"{number}. {repository.full_name}", gained, short(repository.description, DESCRIPTION_CHARACTERS)]
    return Line("  ".join(text for text in texts if text), repository.url)

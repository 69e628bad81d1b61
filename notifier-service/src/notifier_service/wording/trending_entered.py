"""The kind `trending.entered`: a repository is new to a trending page."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from notifier_service.wording.parts import ALL_LANGUAGES, PERIOD, Line, Repository, Wording, short

TITLE = {"en": "{repository} is newly trending", "zh": "{repository} 新上 GitHub 趋势榜"}
WHERE = {"en": "On GitHub's trending page for {page}, {period}", "zh": "GitHub 趋势榜：{page}，{period}"}
RANK = {"en": ", rank {rank}", "zh": "，第 {rank} 名"}
GAINED = {"en": "+{period_stars:,} {period}", "zh": "{period} +{period_stars:,}"}


class Page(msgspec.Struct, frozen=True):
    """The trending page; `language_slug` is None for that of all languages together."""

    since: Literal["daily", "weekly", "monthly"]
    language_slug: str | None = None


class Ranked(Repository, frozen=True, kw_only=True):
    """The repository, with its rank on the page."""

    rank: int | None = None


class Body(msgspec.Struct, frozen=True):
    """The message."""

    page: Page
    repository: Ranked
    taken_at: str = ""


def word(body: Mapping[str, Any], language: Literal["en", "zh"], _occurrences: int) -> Wording:
    """Raises msgspec.ValidationError."""
    told = msgspec.convert(body, Body)
    repository = told.repository
    period = PERIOD[language][told.page.since]
    page = repository.language if told.page.language_slug and repository.language else told.page.language_slug
    page = page or ALL_LANGUAGES[language]
    where = WHERE[language].format(page=page, period=period)
    if repository.rank is not None:
        where += RANK[language].format(rank=repository.rank)
    numbers = []
    if repository.stars is not None:
        numbers.append(f"★ {repository.stars:,}")
    if repository.period_stars is not None:
        numbers.append(GAINED[language].format(period_stars=repository.period_stars, period=period))
    texts = [short(repository.description), where, "  ".join(numbers)]
    return Wording(
        title=Line(TITLE[language].format(repository=repository.full_name), repository.url),
        lines=tuple(Line(text) for text in texts if text),
        facts={
            "repository": repository.full_name,
            "name": repository.name,
            "owner": repository.owner,
            "description": short(repository.description),
            "language": repository.language or page,
            "stars": str(repository.stars or 0),
            "period_stars": str(repository.period_stars or 0),
            "rank": str(repository.rank or 0),
            "period": period,
            "where": where,
            "time": told.taken_at[:16].replace("T", " "),
        },
    )

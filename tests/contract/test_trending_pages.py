"""Every trending page is read, field by field, whatever its classes are called.

The project's own samples are always read; recorded pages of github.com where RECORDINGS_DIR names their folder.
What is expected of a recorded page is found without the parser: by expressions over the raw HTML, which may use the
classes of that page's year, and by counts that were taken by hand when the page was stored.
"""

import json
import os
import re
from functools import cache
from html import unescape
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from github_client.languages import language_slug
from github_client.trending.parser import (
    TrendingDeveloper,
    TrendingPage,
    TrendingRepository,
    parse_developers,
    parse_language_menu,
    parse_repositories,
)

SAMPLES = Path(__file__).parents[1] / "samples" / "trending"
RECORDINGS = Path(os.environ["RECORDINGS_DIR"], "trending-html") if os.environ.get("RECORDINGS_DIR") else None
needs_recordings = pytest.mark.skipif(RECORDINGS is None, reason="RECORDINGS_DIR names no folder of recorded answers")

# Rows, and rows without a field, counted by hand; None: not counted, only found by the expressions below.
REPOSITORY_PAGES: dict[str, tuple[int, dict[str, int]]] = {
    "repos_niklas1_2021-04-07.html": (25, {"stars": 0, "forks": 0, "period_stars": 0}),
    "repos_niklas2_2021-04-07.html": (4, {"stars": 0, "forks": 0, "period_stars": 0, "description": 0}),
    "repos_niklas3_2021-04-07.html": (25, {"stars": 0, "forks": 0, "period_stars": 0}),
    "repos_niklas4_2021-04-07.html": (25, {"stars": 1, "period_stars": 1}),
    "repos_gotrending_2022-23.html": (25, {"stars": 0, "forks": 0, "period_stars": 0}),
    "repos_2026-04-26_llmx_excerpt.html": (3, {"stars": 0, "forks": 0, "period_stars": 0, "description": 0}),
    "repos_rust_weekly_2026-05-07.html": (16, {"stars": 0, "forks": 0, "period_stars": 0, "language": 0}),
    "repos_all_daily_2026-05-13.html": (11, {"stars": 0, "forks": 0, "period_stars": 0, "description": 0}),
    "repos_all_weekly_2026-05-13.html": (18, {"stars": 0, "forks": 0, "period_stars": 0, "description": 1}),
    "rows_2026-09-04_trimmed.html": (2, {"stars": 0, "forks": 0, "period_stars": 0, "description": 0}),
}
DEVELOPER_PAGES: dict[str, tuple[int, dict[str, int]]] = {
    "devs_niklas1_2021-04-07.html": (25, {"repository": 0}),
    "devs_niklas3_2021-04-07.html": (15, {"repository": 0, "repository_description": 1}),
    "devs_gotrending_2022-04-09.html": (25, {"repository": 4}),
}
Fields = dict[str, Any]


READABLE = [
    path
    for folder in (SAMPLES, RECORDINGS)
    if folder
    for path in sorted(folder.glob("*.html"))
    if path.name not in {"not_ready.html", "sign_in.html"}
]


def recorded(name: str) -> str:
    assert RECORDINGS is not None
    return (RECORDINGS / name).read_text(encoding="utf-8")


def one(pattern: str, html: str) -> str | None:
    """The text of an expression's group, without tags and with single spaces; None where it is not found."""
    found = re.search(pattern, html, re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", "", found[1])).split()) if found else None


def count(text: str | None) -> int | None:
    return int(text.replace(",", "")) if text else None


def rows_of(html: str) -> list[str]:
    return re.split(r'<article class="Box-row', html)[1:]


def expected_repository(row: str) -> Fields:
    """A repository row's fields, by expressions over its HTML."""
    place = one(r'<h[12] class="h3 lh-condensed">\s*<a [^>]*?href="/([^"]+)"', row)
    assert place is not None
    return {
        "name": place,
        "description": one(r'<p class="col-9[^>]*>(.*?)</p>', row),
        "language": one(r'itemprop="programmingLanguage">(.*?)</span>', row),
        "language_color": one(r'class="repo-language-color" style="background-color: (#\w{6})"', row),
        "stars": count(one(rf'href="/{re.escape(place)}/stargazers"[^>]*>\s*<svg.*?</svg>\s*([\d,]+)\s*</a>', row)),
        "forks": count(one(r'/(?:forks|network/members[^"]*)"[^>]*>\s*<svg.*?</svg>\s*([\d,]+)\s*</a>', row)),
        "period_stars": count(one(r"([\d,]+) stars (?:today|this week|this month)\s*</span>", row)),
        # Hovercards are for people; those who have none are bots.
        "built_by": re.findall(r'data-hovercard-url="/users/([^/"]+)/hovercard"[^>]*><img', row),
        "avatars": [
            unescape(source) for source in re.findall(r'data-hovercard-url="/users/[^>]*><img[^>]*? src="([^"]+)"', row)
        ],
    }


def found_repository(row: TrendingRepository) -> Fields:
    return {
        "name": f"{row.owner}/{row.name}",
        "description": row.description,
        "language": row.language,
        "language_color": row.language_color,
        "stars": row.stars,
        "forks": row.forks,
        "period_stars": row.period_stars,
        "built_by": [builder.login for builder in row.built_by],
        "avatars": [builder.avatar_url for builder in row.built_by],
    }


def expected_developer(row: str) -> Fields:
    """A developer row's fields, by expressions over its HTML."""
    return {
        "login": one(r'id="pa-([^"]+)"', row),
        "name": one(r'<h1 class="h3 lh-condensed"[^>]*>\s*<a [^>]*>(.*?)</a>', row),
        "avatar_url": one(r'<img class="rounded[^>]*? src="([^"]+)"', row),
        "repository": one(r'Popular repo.*?<h1 class="h4[^>]*>\s*<a [^>]*?href="/([^"]+)"', row),
        "repository_description": one(r'Popular repo.*?<div class="f6[^>]*>(.*?)</div>', row) or None,
    }


def found_developer(row: TrendingDeveloper) -> Fields:
    repository = row.repository
    return {
        "login": row.login,
        "name": row.name,
        "avatar_url": row.avatar_url,
        "repository": f"{repository.owner}/{repository.name}" if repository else None,
        "repository_description": repository.description if repository else None,
    }


def table_line(name: str, expected: list[Fields], found: list[Fields]) -> tuple[str, ...]:
    """Of a field: how many rows have it as found, of how many that have it on the page."""

    def cell(field: str) -> str:
        if isinstance(expected[0][field], list):
            right = sum(len(set(f[field]) & set(e[field])) for f, e in zip(found, expected, strict=True))
            return f"{right}/{sum(len(e[field]) for e in expected)}"
        right = sum(f[field] == e[field] is not None for f, e in zip(found, expected, strict=True))
        return f"{right}/{sum(e[field] is not None for e in expected)}"

    return (name, str(len(found)), *(cell(field) for field in expected[0]))


@needs_recordings
@pytest.mark.parametrize("name", REPOSITORY_PAGES)
def test_recorded_repositories_are_read_field_by_field(
    name: str, trending_tables: dict[str, list[tuple[str, ...]]]
) -> None:
    html = recorded(name)
    expected = [expected_repository(row) for row in rows_of(html)]
    page = parse_repositories(html)
    found = [found_repository(row) for row in page.rows]

    title = "trending repositories: right values / values on the page"
    head = ("page", "rows", *expected[0])
    trending_tables.setdefault(title, [head]).append(table_line(name, expected, found))

    rows, missing = REPOSITORY_PAGES[name]
    assert len(found) == len(expected) == rows
    assert {field: sum(row[field] is None for row in found) for field in missing} == missing
    assert found == expected
    assert [row.rank for row in page.rows] == list(range(1, rows + 1))
    assert page.unreadable_rows == 0


@needs_recordings
@pytest.mark.parametrize("name", DEVELOPER_PAGES)
def test_recorded_developers_are_read_field_by_field(
    name: str, trending_tables: dict[str, list[tuple[str, ...]]]
) -> None:
    html = recorded(name)
    expected = [expected_developer(row) for row in rows_of(html)]
    page = parse_developers(html)
    found = [found_developer(row) for row in page.rows]

    title = "trending developers: right values / values on the page"
    trending_tables.setdefault(title, [("page", "rows", *expected[0])]).append(table_line(name, expected, found))

    rows, missing = DEVELOPER_PAGES[name]
    without = {"repository": 0, "repository_description": 0}
    for row in found:
        without["repository"] += row["repository"] is None
        without["repository_description"] += row["repository"] is not None and row["repository_description"] is None
    assert len(found) == len(expected) == rows
    assert {field: without[field] for field in missing} == missing
    assert found == expected


@needs_recordings
def test_every_recorded_page_is_expected() -> None:
    assert RECORDINGS is not None
    assert {path.name for path in RECORDINGS.glob("*.html")} == {*REPOSITORY_PAGES, *DEVELOPER_PAGES}


@needs_recordings
def test_bots_of_the_recorded_pages_are_not_people() -> None:
    bots = 0
    for name in REPOSITORY_PAGES:
        html = recorded(name)
        bots += len(re.findall(r'href="/apps/[^"]+"><img', html))
        builders = {builder.login for row in parse_repositories(html).rows for builder in row.built_by}
        assert not builders & {"apps", *re.findall(r'href="/apps/([^"]+)"><img', html)}
    assert bots == 30


@needs_recordings
@pytest.mark.parametrize("name", ["repos_all_daily_2026-05-13.html", "repos_rust_weekly_2026-05-07.html"])
def test_recorded_menu_is_read_whole_also_on_a_language_s_own_page(name: str) -> None:
    assert RECORDINGS is not None
    menu = json.loads((RECORDINGS / "menu_2026-05-13.json").read_text(encoding="utf-8"))["languages"]
    assert len(menu) == 804
    assert {language.slug: language.name for language in parse_language_menu(recorded(name))} == menu
    assert {language_slug(name): name for name in menu.values()} == menu


def renamed(html: str, random: Random, style: str) -> str:
    """The page with every class given another name, or the name of another class of the page, or none."""
    attribute = re.compile(r'(?<=\sclass=)"([^"]*)"|(?<=\sclass=)([^\s">]+)')
    tokens = sorted({token for found in attribute.finditer(html) for token in (found[1] or found[2] or "").split()})
    names = tokens[:] if style == "shuffled" else [f"x{number}" for number in range(len(tokens))]
    random.shuffle(names)
    new = dict.fromkeys(tokens, "") if style == "removed" else dict(zip(tokens, names, strict=True))

    def replacement(found: re.Match[str]) -> str:
        return '"' + " ".join(new[token] for token in (found[1] or found[2] or "").split()) + '"'

    return attribute.sub(replacement, html)


def read(path: Path, html: str) -> tuple[TrendingPage[TrendingRepository] | TrendingPage[TrendingDeveloper], Any]:
    """All that is read of a page: rows and menu."""
    parse = parse_developers if "devs" in path.name else parse_repositories
    return parse(html), parse_language_menu(html)


@cache
def unchanged(path: Path) -> Any:
    """The page and what is read of it, kept for all the examples."""
    html = path.read_text(encoding="utf-8")
    return html, read(path, html)


@pytest.mark.parametrize("path", READABLE, ids=lambda path: path.name)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.randoms(use_true_random=False), style=st.sampled_from(["shuffled", "new", "removed"]))
def test_no_class_is_an_anchor(path: Path, random: Random, style: str) -> None:
    html, expected = unchanged(path)
    other = renamed(html, random, style)
    assert ("Box-row" in other) == (style == "shuffled" and "Box-row" in html)
    assert read(path, other) == expected

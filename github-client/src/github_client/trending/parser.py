"""github.com/trending: the HTML of one page in, its rows or its language menu out. Values only, no I/O.

One parser for the pages of 2021 to 2026. GitHub renames its classes every year or so, therefore no class is read: tags,
ids, addresses, `itemprop`, `alt` and text find everything. What is not found is null; nothing is guessed.

A whole page is refused (TrendingParseError) where a part of it would be a wrong answer: a cut page, one with
neither rows nor GitHub's own word that there are none, one of which half the rows or more cannot be read.
"""

import re
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
from selectolax.lexbor import LexborNode

from github_client.languages import Language, encoded_slug, language_slug
from github_client.trending.html import (
    COUNT,
    PageNotReady,
    TrendingParseError,
    count_of,
    path_of,
    picture_url,
    read_html,
    text_of,
    whole_number,
)

__all__ = [
    "Builder",
    "PopularRepository",
    "TrendingDeveloper",
    "TrendingPage",
    "TrendingParseError",
    "TrendingRepository",
    "parse_developers",
    "parse_language_menu",
    "parse_repositories",
]

Row = TypeVar("Row")

_HEADING = "h1, h2, h3, h4, h5, h6"
_METADATA = '[itemprop], img[alt^="@"], a[href$="/stargazers"]'
_LOGIN = re.compile(r"/(?P<login>[A-Za-z0-9][A-Za-z0-9_-]{0,99})")
_REPOSITORY = re.compile(_LOGIN.pattern.replace("login", "owner") + r"/(?P<name>(?!\.\.?$)[A-Za-z0-9._-]{1,100})")
_LANGUAGE = re.compile(r"/trending/(?:developers/)?(?P<slug>(?!developers$)[^/]+)")
# Paths with the form of an account or repository that belong to GitHub itself: `/apps/NAME` is a bot, not a person.
_NOT_ACCOUNTS = frozenset({"apps", "collections", "login", "orgs", "signup", "sponsors", "topics", "trending"})
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}\b")
_PERIOD_STARS = re.compile(rf"(?<![^\s])({COUNT}) stars? (?:today|this week|this month)(?!\w)")
_NOTHING = "we don't have any trending {}"
_NOT_READY = "results are currently being dissected"


class TrendingPage(msgspec.Struct, Generic[Row], frozen=True):
    """The rows of one page, best first; none where GitHub says that it has none."""

    rows: tuple[Row, ...]
    unreadable_rows: int = 0
    """Rows whose name cannot be read, or is no person's; left out (their ranks are missing), always under a half."""


class Builder(msgspec.Struct, frozen=True):
    """A person among a repository's "Built by"; bots are left out."""

    login: str
    avatar_url: str | None
    """As on the page, 40 pixels wide; its parameter `s` takes another width."""


class TrendingRepository(msgspec.Struct, frozen=True):
    """A row of github.com/trending. Counts are exact; null where the page shows none or only a rounded one ("1.2k")."""

    rank: int
    """Place on the page, from 1."""
    owner: str
    name: str
    description: str | None
    """Plain text with single spaces."""
    language: str | None
    """Display name of the main programming language."""
    language_color: str | None
    """`#rrggbb`."""
    stars: int | None
    """Stars in all, when the page was made."""
    forks: int | None
    period_stars: int | None
    """Stars gained in the page's period: the day, week or month up to when the page was made."""
    built_by: tuple[Builder, ...]
    """Up to five people, in the page's order."""


class PopularRepository(msgspec.Struct, frozen=True):
    """The repository that a trending developer is shown with; the owner may be an organisation."""

    owner: str
    name: str
    description: str | None


class TrendingDeveloper(msgspec.Struct, frozen=True):
    """A row of github.com/trending/developers."""

    rank: int
    """Place on the page, from 1."""
    login: str
    name: str | None
    """Display name; null for those who gave none, of whom the page shows the login alone."""
    avatar_url: str | None
    """As on the page, 96 pixels wide; its parameter `s` takes another width."""
    repository: PopularRepository | None
    """Null for those whom the page shows without one (about one in ten)."""


def parse_repositories(html: str | bytes) -> TrendingPage[TrendingRepository]:
    """The rows of a repositories page. Raises TrendingParseError."""
    return _page(html, "repositories", _repository)


def parse_developers(html: str | bytes) -> TrendingPage[TrendingDeveloper]:
    """The rows of a developers page. Raises TrendingParseError."""
    return _page(html, "developers", _developer)


def parse_language_menu(html: str | bytes) -> tuple[Language, ...]:
    """The languages that a page of either kind offers, in its order, each once, without colours; none without a menu.

    Raises TrendingParseError for a page that is cut or too large.
    """
    languages: dict[str, Language] = {}
    for link in read_html(html).css("#select-menu-language a[href], #languages-menuitems a[href]"):
        name = text_of(link)
        if found := _LANGUAGE.fullmatch(path_of(link)):
            slug = encoded_slug(found["slug"])
        elif link.attrs.get("aria-checked") == "true":
            # The page's own language: choosing it again clears the choice, so its address has no slug.
            slug = language_slug(name)
        else:
            continue
        if name and slug not in {".", ".."}:
            languages[slug] = Language(name, slug)
    return tuple(languages.values())


def _page(html: str | bytes, kind: str, read: Callable[[int, LexborNode], Row | None]) -> TrendingPage[Row]:
    document = read_html(html)
    # A developer's popular repository is an article inside the row's.
    articles = document.css("article:not(article article)")
    rows = [row for rank, article in enumerate(articles, 1) if (row := read(rank, article)) is not None]
    unreadable = len(articles) - len(rows)
    if articles:
        if unreadable * 2 >= len(articles):
            raise TrendingParseError(f"{unreadable} of {len(articles)} rows are no {kind}.")
    else:
        document.strip_tags(["script", "style"])
        said = text_of(document.root).replace("’", "'")
        if _NOT_READY in said:
            raise PageNotReady("GitHub is still making this page.")
        if _NOTHING.format(kind) not in said:
            raise TrendingParseError("There are no rows, and the page does not say so.")
    return TrendingPage(tuple(rows), unreadable)


def _repository(rank: int, row: LexborNode) -> TrendingRepository | None:
    heading = row.css_first(_HEADING)
    place = _repository_in(heading)
    if place is None:
        return None
    owner, name = place
    stars = forks = None
    builders = []
    for link in row.css("a[href]"):
        path = path_of(link).removeprefix(f"/{owner}/{name}")
        if path == "/stargazers":
            stars = count_of(link) if stars is None else stars
        elif path == "/forks" or path.startswith("/network/members"):  # the latter until 2022
            forks = count_of(link) if forks is None else forks
        elif (picture := link.css_first('img[alt^="@"]')) and (login := _login(link)):
            builders.append(Builder(login, picture_url(picture)))
    language = row.css_first('[itemprop="programmingLanguage"]')
    description, period_stars = _description_and_period_stars(row)
    return TrendingRepository(
        rank=rank,
        owner=owner,
        name=name,
        description=description,
        language=text_of(language) or None,
        language_color=_color_beside(language),
        stars=stars,
        forks=forks,
        period_stars=period_stars,
        built_by=tuple(builders),
    )


def _developer(rank: int, row: LexborNode) -> TrendingDeveloper | None:
    headings = row.css(_HEADING)
    own = headings[0].css_first("a[href]") if headings else None
    login = _login(own) if own else None
    if own is None or login is None:
        return None
    links = [link for link in row.css("a[href]") if path_of(link) == f"/{login}"]
    pictures = (picture for link in links if (picture := link.css_first('img[alt^="@"]')))
    texts = [text for link in links if (text := text_of(link))]
    name = text_of(own)
    popular = next((heading for heading in headings[1:] if _repository_in(heading)), None)
    return TrendingDeveloper(
        rank=rank,
        login=login,
        name=None if name in {"", login} and len(texts) < 2 else name,
        avatar_url=picture_url(next(pictures, None)),
        repository=_popular(popular),
    )


def _popular(heading: LexborNode | None) -> PopularRepository | None:
    place = _repository_in(heading)
    if heading is None or place is None:
        return None
    beside = heading.next
    while beside is not None and not text_of(beside):
        beside = beside.next
    return PopularRepository(*place, description=text_of(beside) or None)


def _description_and_period_stars(row: LexborNode) -> tuple[str | None, int | None]:
    """The first paragraph, and the count that stands elsewhere in the row's text: either may look like the other."""
    paragraph = next((each for each in row.css("p") if text_of(each) and not each.css_first(_METADATA)), None)
    description = text_of(paragraph) or None
    outside = text_of(row, " ")
    if paragraph is not None:
        outside = outside.replace(text_of(paragraph, " "), " ", 1)
    found = _PERIOD_STARS.findall(outside)
    if not found and description and (only := _PERIOD_STARS.fullmatch(description)):
        return None, whole_number(only[1])
    return description, whole_number(found[-1]) if found else None


def _repository_in(heading: LexborNode | None) -> tuple[str, str] | None:
    link = heading.css_first("a[href]") if heading else None
    found = _REPOSITORY.fullmatch(path_of(link)) if link else None
    return (found["owner"], found["name"]) if found and found["owner"] not in _NOT_ACCOUNTS else None


def _login(link: LexborNode) -> str | None:
    found = _LOGIN.fullmatch(path_of(link))
    return found["login"] if found and found["login"] not in _NOT_ACCOUNTS else None


def _color_beside(language: LexborNode | None) -> str | None:
    parent = language.parent if language else None
    dot = parent.css_first('[style*="background-color"]') if parent else None
    found = _COLOR.search(dot.attrs.get("style") or "") if dot else None
    return found[0] if found else None

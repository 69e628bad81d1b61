"""Trending pages: which address is asked for which wish, and what a page teaches the language catalogue."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from aioresponses import aioresponses
from yarl import URL

from github_client.languages import LanguageCatalogue
from github_client.trending.page_key import PageKey, read_page_key
from github_client.trending.parser import parse_repositories
from github_client.trending.website import TrendingPages
from service_kit.errors import UnprocessableParameter, UpstreamFault
from service_kit.query import Query
from tests.fakes.web_answers import web_answers

PAGE = (Path(__file__).parents[1] / "samples" / "trending" / "repos_2026.html").read_bytes()
NOT_READY = (Path(__file__).parents[1] / "samples" / "trending" / "not_ready.html").read_bytes()
GITHUB = "https://github.com"


@pytest.fixture
def answers() -> Iterator[aioresponses]:
    with web_answers() as registered:
        yield registered


@pytest.fixture
def catalogue() -> LanguageCatalogue:
    return LanguageCatalogue()


@pytest.fixture
async def pages(catalogue: LanguageCatalogue) -> AsyncIterator[TrendingPages]:
    async with ClientSession() as session:
        yield TrendingPages(session, GITHUB, catalogue)


@pytest.mark.parametrize(
    ("query", "address"),
    [
        ("", "/trending?since=daily"),
        ("since=weekly", "/trending?since=weekly"),
        ("language=", "/trending?since=daily"),
        ("language=All", "/trending?since=daily"),
        ("language=rust", "/trending/rust?since=daily"),
        ("language=c++", "/trending/c++?since=daily"),
        ("language=C%23", "/trending/c%23?since=daily"),
        ("language=c%2523", "/trending/c%23?since=daily"),
        ("language=jupyter%20notebook", "/trending/jupyter-notebook?since=daily"),
        ("language=jupyter+notebook", "/trending/jupyter-notebook?since=daily"),
        ("language=unknown&spoken_language_code=zh", "/trending/unknown?since=daily&spoken_language_code=zh"),
    ],
)
async def test_a_wish_becomes_one_address(
    answers: aioresponses, pages: TrendingPages, catalogue: LanguageCatalogue, query: str, address: str
) -> None:
    url = URL(f"{GITHUB}{address}", encoded=True)
    answers.get(url, body=PAGE)
    answer = await pages.fetch(
        read_page_key("repositories", Query(query, plus_is_space=False), catalogue), parse_repositories
    )
    assert answer.value.rows
    [(method, asked)] = answers.requests
    assert (method, asked) == ("GET", url)


async def test_a_page_that_is_not_ready_is_a_fault_and_remembered(answers: aioresponses, pages: TrendingPages) -> None:
    url = f"{GITHUB}/trending?since=daily"
    answers.get(url, body=NOT_READY)
    answers.get(url, body=PAGE)
    wanted = PageKey("repositories", "daily")
    with pytest.raises(UpstreamFault):
        await pages.fetch(wanted, parse_repositories)
    assert not pages.is_parsable
    await pages.fetch(wanted, parse_repositories)
    assert pages.is_parsable


async def test_the_menu_of_a_page_overrides_the_bundled_languages(
    answers: aioresponses, pages: TrendingPages, catalogue: LanguageCatalogue
) -> None:
    links = "".join(f'<a href="/trending/lang-{n}?since=daily">Lang {n}</a>' for n in range(800))
    page = PAGE.replace(b"</body>", f'<div id="languages-menuitems">{links}</div></body>'.encode())
    answers.get(f"{GITHUB}/trending?since=daily", body=page)
    assert catalogue.lookup("lang 7") is None
    await pages.fetch(PageKey("repositories", "daily"), parse_repositories)
    known = catalogue.lookup("lang 7")
    assert known is not None
    assert known.slug == "lang-7"


def test_an_unknown_language_is_refused_with_its_neighbours(catalogue: LanguageCatalogue) -> None:
    with pytest.raises(UnprocessableParameter) as caught:
        read_page_key("repositories", Query("language=rusty"), catalogue)
    assert "Rust" in caught.value.members["nearest"]

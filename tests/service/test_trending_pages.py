"""Trending pages: which address is asked for which wish, what one fetch brings, and which pages are kept by setting."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aioresponses import aioresponses
from yarl import URL

from github_client.languages import LanguageCatalogue
from github_client.trending.page_key import PageKey, configured_pages, read_page_key
from github_client.trending.website import PageUnreadable, TrendingWebsite
from service_kit.client import open_session
from service_kit.errors import UnprocessableParameter, UpstreamFault, UpstreamLimited
from service_kit.metrics import Metrics
from service_kit.query import Query
from tests.fakes.clock import SimulatedClock
from tests.fakes.upstream import ScriptedUpstream
from tests.fakes.web_answers import web_answers

SAMPLES = Path(__file__).parents[1] / "samples" / "trending"
PAGE = (SAMPLES / "repos_2026.html").read_bytes()
NOT_READY = (SAMPLES / "not_ready.html").read_bytes()
SIGN_IN = (SAMPLES / "sign_in.html").read_bytes()
GITHUB = "https://github.com"
DAILY = PageKey("repositories", "daily")
DAILY_URL = f"{GITHUB}/trending?since=daily"


@pytest.fixture
def answers() -> Iterator[aioresponses]:
    with web_answers() as registered:
        yield registered


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
async def website(clock: SimulatedClock) -> AsyncIterator[TrendingWebsite]:
    async with open_session(Metrics()) as session:
        yield TrendingWebsite(session, GITHUB, clock)


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
    answers: aioresponses, website: TrendingWebsite, query: str, address: str
) -> None:
    url = URL(f"{GITHUB}{address}", encoded=True)
    answers.get(url, body=PAGE)
    page = await website.fetch(read_page_key("repositories", Query(query, plus_is_space=False), LanguageCatalogue()))
    assert page.rows
    [(method, asked)] = answers.requests
    assert (method, asked) == ("GET", url)


async def test_the_menu_comes_with_the_page_where_it_is_wanted(answers: aioresponses, website: TrendingWebsite) -> None:
    links = "".join(f'<a href="/trending/lang-{n}?since=daily">Lang {n}</a>' for n in range(800))
    page = PAGE.replace(b"</body>", f'<div id="languages-menuitems">{links}</div></body>'.encode())
    answers.get(DAILY_URL, body=page, repeat=True)
    assert (await website.fetch(DAILY)).menu is None
    menu = (await website.fetch(DAILY, with_menu=True)).menu
    assert menu is not None
    assert "lang-7" in [language.slug for language in menu]


async def test_a_page_that_is_not_ready_is_a_fault_but_not_unreadable(
    answers: aioresponses, website: TrendingWebsite
) -> None:
    answers.get(DAILY_URL, body=NOT_READY)
    answers.get(DAILY_URL, body=SIGN_IN)
    with pytest.raises(UpstreamFault) as not_ready:
        await website.fetch(DAILY)
    assert not isinstance(not_ready.value, PageUnreadable)
    with pytest.raises(PageUnreadable):
        await website.fetch(DAILY)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [(429, {}, 60), (403, {}, 60), (429, {"Retry-After": "7"}, 60), (429, {"Retry-After": "1800"}, 1800)],
)
async def test_github_is_left_alone_for_as_long_as_it_says(
    clock: SimulatedClock, status: int, headers: dict[str, str], seconds: int
) -> None:
    async with ScriptedUpstream() as github, open_session(Metrics()) as session:
        github.answer("/trending", b"no", status, headers)
        github.answer("/trending", PAGE)
        website = TrendingWebsite(session, github.url, clock)
        with pytest.raises(UpstreamLimited) as limited:
            await website.fetch(DAILY)
        assert limited.value.retry_after_seconds == seconds
        clock.advance(seconds - 1)
        with pytest.raises(UpstreamLimited):
            await website.fetch(DAILY)
        assert len(github.asked) == 1
        clock.advance(1)
        assert (await website.fetch(DAILY)).rows


def test_an_unknown_language_is_refused_with_its_neighbours() -> None:
    with pytest.raises(UnprocessableParameter) as caught:
        read_page_key("repositories", Query("language=rusty"), LanguageCatalogue())
    assert "Rust" in caught.value.members["nearest"]


def test_configured_pages_are_both_sections_and_all_periods_of_each_language() -> None:
    assert len(configured_pages("")) == 6
    pages = configured_pages("C#, rust,,Rust")
    assert len(pages) == len(set(pages)) == 18
    assert PageKey("developers", "monthly", "c%23") in pages


@pytest.mark.parametrize(
    ("languages", "complaint"),
    [
        ("go,rusty", "'rusty' is no language.*Rust"),
        ("c,d,e,go,java,julia,kotlin,lua,perl,php,python,r,ruby,rust,swift", "at most 14"),
    ],
)
def test_languages_that_cannot_be_kept_are_refused(languages: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        configured_pages(languages)

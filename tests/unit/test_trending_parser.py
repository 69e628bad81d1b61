"""Trending pages are read in every year's markup; what is missing is null, and what is no page is refused."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from github_client.trending.html import PAGE_LIMIT_BYTES, TAG_LIMIT
from github_client.trending.parser import (
    Builder,
    PopularRepository,
    TrendingDeveloper,
    TrendingPage,
    TrendingParseError,
    TrendingRepository,
    parse_developers,
    parse_language_menu,
    parse_repositories,
)

SAMPLES = Path(__file__).parents[1] / "samples" / "trending"


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.html").read_text(encoding="utf-8")


def row(heading: str = '<h2><a href="/o/n">o / n</a></h2>', rest: str = "") -> str:
    return f"<article>{heading}{rest}</article>"


def read_one(rest: str) -> TrendingRepository:
    (only,) = parse_repositories(row(rest=rest)).rows
    return only


def stars_of(text: str) -> int | None:
    return read_one(f'<a href="/o/n/stargazers"><svg></svg> {text} </a>').stars


def test_repositories_of_2021_are_read() -> None:
    avatars = "https://avatars.example.com/u"
    assert parse_repositories(sample("repos_2021")) == TrendingPage(
        (
            TrendingRepository(
                rank=1,
                owner="paper-boats",
                name="regatta",
                description="⛵ Race paper boats in the browser, see the rules",
                language="TypeScript",
                language_color="#2b7489",
                stars=12_345,
                forks=1_067,
                period_stars=65,
                built_by=(
                    Builder("ann-lee", f"{avatars}/70?s=40&v=4"),
                    Builder("tom7", f"{avatars}/71?s=40&v=4"),
                ),
            ),
            TrendingRepository(
                rank=2,
                owner="paper-boats",
                name="harbour",
                description='Tells "9,999 stars today" from stars & tides',
                language="TypeScript",
                language_color="#2b7489",
                stars=987,
                forks=41,
                period_stars=0,
                built_by=(Builder("ann-lee", f"{avatars}/71?s=40&v=4"),),
            ),
            TrendingRepository(
                rank=3,
                owner="kite-flyers",
                name="Kite.ts",
                description="Drachen steigen lassen",
                language="TypeScript",
                language_color="#2b7489",
                stars=None,
                forks=None,
                period_stars=None,
                built_by=(Builder("mira", f"{avatars}/70?s=40&v=4"),),
            ),
        )
    )


def test_repositories_of_2022_are_read() -> None:
    first, second = parse_repositories(sample("repos_2022")).rows
    assert (first.stars, first.forks, first.period_stars) == (1_234_567, 89_012, 1)
    assert [builder.login for builder in first.built_by] == ["olga", "ben_acme"]
    assert (second.description, second.language, second.language_color) == (None, None, None)
    assert (second.stars, second.forks, second.period_stars) == (3, 0, 2)


def test_repositories_of_2026_are_read() -> None:
    first, second, third = parse_repositories(sample("repos_2026")).rows
    assert (first.owner, first.name, first.description) == ("tin-robots", "gearbox", "Gears for tin robots. 机器人")
    assert (first.stars, first.forks, first.period_stars) == (248_641, 21_055, 1_601)
    assert (second.name, second.description) == (".github", None)
    assert (third.owner, third.description, third.period_stars) == ("lamp_acme", "10 stars today", 12_003)


def test_bots_are_not_people() -> None:
    first, second, _ = parse_repositories(sample("repos_2026")).rows
    assert [builder.login for builder in first.built_by] == ["vera", "claude-tin"]
    assert second.built_by == ()


def test_developers_of_2021_are_read() -> None:
    avatars = "https://avatars.example.com/u"
    assert parse_developers(sample("devs_2021")).rows == (
        TrendingDeveloper(
            1,
            "ann-lee",
            "Ann Lee",
            f"{avatars}/71?s=96&v=4",
            PopularRepository("ann-lee", "oars", "Rowing, well explained"),
        ),
        TrendingDeveloper(
            2, "Tom-", "Tøm / Ünal", f"{avatars}/72?s=96&v=4", PopularRepository("paper-boats", "regatta", None)
        ),
    )


def test_developers_of_2022_are_read() -> None:
    first, second, third = parse_developers(sample("devs_2022")).rows
    assert first.repository == PopularRepository("olga", "moss.jl", "🌱 Moss & more")
    assert (second.login, second.name, second.repository) == ("ben", "Ben Acme", None)
    assert (third.login, third.name) == ("Same", "Same")


def test_developers_of_2026_are_read() -> None:
    first, second = parse_developers(sample("devs_2026")).rows
    assert (first.login, first.name) == ("vera", "Vera")
    assert (second.login, second.name) == ("no-name", None)
    assert second.repository == PopularRepository("no-name", "thing", "A thing")


def test_a_stray_end_tag_costs_no_row() -> None:
    broken = sample("devs_2022").replace("</article></div>", "</article></a</div>")
    assert broken != sample("devs_2022")
    assert parse_developers(broken) == parse_developers(sample("devs_2022"))


def test_bytes_are_read_as_text_is() -> None:
    html = sample("repos_2021")
    assert parse_repositories(html.encode()) == parse_repositories(html)


def test_bytes_that_are_no_utf_8_cost_one_character() -> None:
    html = sample("repos_2021").encode().replace(b"steigen", b"st\xffigen")
    assert parse_repositories(html).rows[2].description == "Drachen st�igen lassen"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("999", 999),
        ("1,234", 1234),
        ("1，234", 1234),
        ("1٬234،567", 1_234_567),
        ("12,345,678", 12_345_678),
        ("248,641 stars", 248_641),
        ("star 5", 5),
    ],
)
def test_whole_numbers_are_counts(text: str, count: int) -> None:
    assert stars_of(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "Star", "1.2k", "5k", "5 K", "3M", "1.234", "1,23", "12,34,5", "10+", "5万", "1 234", "1,2,3", "-5", "9" * 40],
)
def test_what_is_no_whole_number_is_null(text: str) -> None:
    assert stars_of(text) is None


def test_stars_of_the_period_are_never_the_stars() -> None:
    only = read_one("<span>1,014 stars today</span>")
    assert (only.stars, only.period_stars) == (None, 1014)


def test_stars_are_never_those_of_the_period() -> None:
    only = read_one('<a href="/o/n/stargazers">1,014</a>')
    assert (only.stars, only.period_stars) == (1014, None)


def test_a_rounded_count_of_the_period_is_null() -> None:
    assert read_one("<span>1.2k stars today</span>").period_stars is None


def test_stars_of_another_repository_are_not_the_row_s() -> None:
    assert read_one('<p>Like <a href="/o/other/stargazers">7</a></p><a href="/x/n/stargazers">8</a>').stars is None


def test_the_period_s_stars_in_a_paragraph_are_no_description() -> None:
    only = read_one("<p>1,014 stars this week</p>")
    assert (only.description, only.period_stars) == (None, 1014)


def test_a_paragraph_of_counts_is_no_description() -> None:
    counts = '<span itemprop="programmingLanguage">V</span><a href="/o/n/stargazers">3</a><b>2</b> stars this month'
    only = read_one(f"<p>{counts}</p>")
    assert (only.description, only.language, only.stars, only.period_stars) == (None, "V", 3, 2)


def test_a_link_to_a_person_in_the_description_is_no_builder() -> None:
    only = read_one('<p>By <a href="/ann">@ann</a> <img alt=":boat:" src="/boat.png"></p>')
    assert (only.description, only.built_by) == ("By @ann", ())


def test_links_with_the_site_s_own_host_are_followed_too() -> None:
    heading = '<h3><a href="https://github.com/o/n?tab=readme#top">n</a></h3>'
    page = parse_repositories(row(heading, '<a href="https://github.com/o/n/stargazers">5</a>'))
    assert [(only.owner, only.name, only.stars) for only in page.rows] == [("o", "n", 5)]


@pytest.mark.parametrize(
    "address",
    ["/sponsors/ann", "/login?return_to=%2Fo%2Fn", "/apps/bot", "/o", "/o/n/issues", "/o/..", "//evil.example/x", ""],
)
def test_a_row_named_by_another_link_is_not_read(address: str) -> None:
    odd = row(f'<h2><a href="{address}">n</a></h2>')
    page = parse_repositories(odd + row() + row())
    assert page.unreadable_rows == 1
    assert [(each.rank, each.name) for each in page.rows] == [(2, "n"), (3, "n")]


def test_a_page_of_which_half_the_rows_have_no_name_is_refused() -> None:
    with pytest.raises(TrendingParseError, match="1 of 2 rows"):
        parse_repositories(row() + row("<h2>o / n</h2>"))


def test_developers_are_no_repositories_and_repositories_no_developers() -> None:
    with pytest.raises(TrendingParseError):
        parse_repositories(sample("devs_2022"))
    with pytest.raises(TrendingParseError):
        parse_developers(sample("repos_2022"))


def test_a_page_that_says_that_there_is_nothing_is_empty() -> None:
    assert parse_repositories(sample("empty_repos")) == TrendingPage(())
    assert parse_developers(sample("empty_devs")) == TrendingPage(())


def test_a_straight_apostrophe_says_the_same() -> None:
    assert parse_repositories(sample("empty_repos").replace("don’t", "don&#39;t")) == TrendingPage(())


def test_no_repositories_are_not_no_developers() -> None:
    with pytest.raises(TrendingParseError):
        parse_developers(sample("empty_repos"))


def test_a_page_that_github_is_still_making_is_refused() -> None:
    with pytest.raises(TrendingParseError, match="still making"):
        parse_repositories(sample("not_ready"))


@pytest.mark.parametrize("html", ["", b"", " ", "<html></html>", "Unicorn!", "{}", sample("sign_in")])
def test_what_is_no_trending_page_is_refused(html: str | bytes) -> None:
    for parse in (parse_repositories, parse_developers):
        with pytest.raises(TrendingParseError, match="no rows"):
            parse(html)


@pytest.mark.parametrize("name", ["repos_2021", "repos_2022", "repos_2026", "devs_2021", "devs_2022", "devs_2026"])
def test_a_page_cut_anywhere_is_refused(name: str) -> None:
    parse = parse_developers if name.startswith("devs") else parse_repositories
    html = sample(name)
    assert parse(html).rows
    for end in range(0, html.index("</html>") + len("</html>") - 1, 97):
        with pytest.raises(TrendingParseError):
            parse(html[:end])


def test_an_excerpt_cut_inside_a_row_is_refused() -> None:
    whole = row(rest='<a href="/o/n/stargazers">3,000</a>')
    with pytest.raises(TrendingParseError, match="cut"):
        parse_repositories(whole + whole.removesuffix("00</a></article>"))


def test_a_cut_page_s_menu_is_refused() -> None:
    html = sample("repos_2026")
    with pytest.raises(TrendingParseError, match="cut"):
        parse_language_menu(html[: html.index("Jupyter")])


@pytest.mark.parametrize("name", ["repos_2021", "repos_2022", "repos_2026", "devs_2021", "devs_2022", "devs_2026"])
def test_the_menu_has_every_language_also_the_page_s_own(name: str) -> None:
    assert [(language.slug, language.name) for language in parse_language_menu(sample(name))] == [
        ("unknown", "Unknown languages"),
        ("c", "C"),
        ("c++", "C++"),
        ("c%23", "C#"),
        ("jupyter-notebook", "Jupyter Notebook"),
        ("ren'py", "Ren'Py"),
        ("rust", "Rust"),
        ("typescript", "TypeScript"),
        ("visual-basic-.net", "Visual Basic .NET"),
    ]


def test_a_page_without_menu_offers_no_languages() -> None:
    assert parse_language_menu(row()) == ()


@pytest.mark.parametrize("html", ["<p>" + "x" * PAGE_LIMIT_BYTES, "<div>" * (TAG_LIMIT + 1)])
def test_a_page_too_large_or_too_deep_is_refused_before_it_is_parsed(html: str) -> None:
    for parse in (parse_repositories, parse_developers, parse_language_menu):
        with pytest.raises(TrendingParseError, match="larger"):
            parse(html)


@settings(deadline=None)
@given(data=st.data(), name=st.sampled_from(["repos_2021", "repos_2026", "devs_2022", "empty_repos"]))
def test_a_damaged_page_is_read_or_refused_and_nothing_else(data: st.DataObject, name: str) -> None:
    html = sample(name)
    start = data.draw(st.integers(0, len(html)))
    end = data.draw(st.integers(start, min(len(html), start + 400)))
    damaged = html[:start] + data.draw(st.text(max_size=40)) + html[end:]
    for parse in (parse_repositories, parse_developers, parse_language_menu):
        with suppress(TrendingParseError):
            parse(damaged)

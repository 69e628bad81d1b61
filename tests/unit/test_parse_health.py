"""Parse health: which parses can be all that is on a page."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from github_client.trending.page_key import PageKey
from github_client.trending.parse_health import filled, judge
from github_client.trending.parser import TrendingParseError, TrendingRepository, parse_developers, parse_repositories
from github_client.trending.stored import Baseline

RECORDINGS = Path(os.environ["RECORDINGS_DIR"], "trending-html") if os.environ.get("RECORDINGS_DIR") else None
RECORDED = sorted(path.name for path in RECORDINGS.glob("*.html")) if RECORDINGS else ["none"]
SHORT = {"repos_2026-04-26_llmx_excerpt.html", "repos_niklas2_2021-04-07.html", "rows_2026-09-04_trimmed.html"}
"""Of less than five rows, which may all be bare."""
ALL = PageKey("repositories", "daily")
RUST = PageKey("repositories", "daily", "rust")
UNKNOWN = PageKey("repositories", "daily", "unknown")
DEVELOPERS = PageKey("developers", "daily")
FIELDS = ("description", "language", "language_color", "stars", "forks", "period_stars", "built_by")


def counts(rows: int, **others: int) -> dict[str, int]:
    """Every row with every field, but for those named."""
    return dict.fromkeys(FIELDS, rows) | others


def usual(rows_of_each: int, snapshots: int = 50, scope: str = "page", **shares: float) -> Baseline:
    rows = rows_of_each * snapshots
    some = {field: int(rows * shares.get(field, 1.0)) for field in FIELDS}
    return msgspec.convert({"scope": scope, "snapshots": snapshots, "rows": rows, "filled": some}, Baseline)


@pytest.mark.parametrize(
    ("key", "rows", "found", "baselines"),
    [
        pytest.param(ALL, 17, counts(17), [], id="everything there"),
        pytest.param(ALL, 25, counts(25, language=22, language_color=22), [], id="three of 25 without a language"),
        pytest.param(
            ALL, 3, counts(3, language=0, language_color=0), [usual(3)], id="three rows, none with a language"
        ),
        pytest.param(ALL, 25, counts(25, stars=23, forks=22, period_stars=23), [], id="a few bare rows"),
        pytest.param(
            ALL, 25, counts(25, stars=23, forks=23), [usual(25), usual(25, scope="section")], id="two bare rows"
        ),
        pytest.param(UNKNOWN, 25, counts(25, language=0, language_color=0), [], id="the page of no language"),
        pytest.param(
            UNKNOWN,
            25,
            counts(25, language=0, language_color=0),
            [usual(25, language=0, language_color=0), usual(20, scope="section")],
            id="no language as ever",
        ),
        pytest.param(RUST, 4, counts(4), [], id="a language of few repositories"),
        pytest.param(RUST, 0, counts(0), [], id="a language never seen with any"),
        pytest.param(RUST, 0, counts(0), [usual(0)], id="a language that is always empty"),
        pytest.param(ALL, 11, counts(11), [usual(25)], id="11 rows where there were 25"),
        pytest.param(RUST, 1, counts(1), [usual(4)], id="one row where there were four"),
        pytest.param(RUST, 3, counts(3, forks=2), [], id="one of three rows without forks"),
    ],
)
def test_these_are_good(key: PageKey, rows: int, found: dict[str, int], baselines: list[Baseline]) -> None:
    assert judge(key, rows, found, 0, baselines).reasons == ()


@pytest.mark.parametrize(
    ("key", "rows", "found", "baselines", "reason"),
    [
        pytest.param(ALL, 11, counts(11, stars=0), [], "0 of 11 rows have stars", id="no stars, fresh install"),
        pytest.param(RUST, 11, counts(11, stars=0), [], "stars", id="no stars on a page never seen"),
        pytest.param(ALL, 25, counts(25, stars=12), [], "12 of 25", id="half of the stars"),
        pytest.param(ALL, 25, counts(25, description=0), [], "description", id="no descriptions"),
        pytest.param(RUST, 25, counts(25, language=0), [usual(25)], "language", id="a language page that lost it"),
        pytest.param(ALL, 3, counts(3, stars=0), [usual(17), usual(17, scope="section")], "stars", id="three bare rows, long history"),
        pytest.param(ALL, 0, counts(0), [], "empty", id="all languages together and nothing, fresh install"),
        pytest.param(RUST, 0, counts(0), [usual(12)], "empty; 12 rows", id="empty, but it usually is not"),
        pytest.param(ALL, 3, counts(3), [usual(25)], "3 rows; 25", id="three rows where there were 25"),
    ],
)  # fmt: skip
def test_these_are_degraded(
    key: PageKey, rows: int, found: dict[str, int], baselines: list[Baseline], reason: str
) -> None:
    verdict = judge(key, rows, found, 0, baselines)
    assert not verdict.is_good
    assert any(reason in each for each in verdict.reasons)


def test_many_unreadable_rows_are_degraded_and_a_bot_is_not() -> None:
    assert judge(ALL, 14, counts(14), 11, []).reasons == ("11 of 25 rows cannot be read.",)
    assert judge(ALL, 24, counts(24), 1, []).is_good


def test_only_a_wrong_number_of_rows_is_accepted_with_time() -> None:
    assert judge(ALL, 0, counts(0), 0, []).accepted_after_seconds == 3600
    assert judge(ALL, 3, counts(3), 0, [usual(25)]).accepted_after_seconds == 86_400
    assert judge(ALL, 11, counts(11, stars=0), 0, []).accepted_after_seconds is None
    assert judge(ALL, 6, counts(6, stars=0), 0, [usual(25)]).accepted_after_seconds is None


@given(
    rows=st.integers(1, 25),
    without=st.integers(0, 25),
    history=st.lists(st.tuples(st.integers(1, 25), st.integers(1, 500)), max_size=1),
)
def test_more_stars_are_never_worse(rows: int, without: int, history: list[tuple[int, int]]) -> None:
    baselines = [usual(each, snapshots) for each, snapshots in history]
    stars = max(0, rows - without)
    if judge(RUST, rows, counts(rows, stars=stars), 0, baselines).is_good:
        assert judge(RUST, rows, counts(rows, stars=min(rows, stars + 1)), 0, baselines).is_good


# Every recorded page

recorded = pytest.mark.skipif(RECORDINGS is None, reason="RECORDINGS_DIR is not set")


def read(name: str) -> tuple[PageKey, Any]:
    assert RECORDINGS is not None
    html = (RECORDINGS / name).read_bytes()
    # That pages are of one language or few rows is not told: the strictest key.
    return (DEVELOPERS, parse_developers(html)) if name.startswith("devs") else (ALL, parse_repositories(html))


@recorded
@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_page_is_good_beside_all_others(name: str) -> None:
    key, page = read(name)
    others = [other for each in RECORDED if each != name and (other := read(each))[0] == key]
    assert others
    section = Baseline(
        "section",
        len(others),
        sum(len(other.rows) for _, other in others),
        {
            field: sum(filled(key.section, other.rows)[field] for _, other in others)
            for field in filled(key.section, ())
        },
    )
    for baselines in ([], [section]):
        found = filled(key.section, page.rows)
        assert judge(key, len(page.rows), found, page.unreadable_rows, baselines).reasons == ()


@recorded
@pytest.mark.parametrize(
    ("name", "field"),
    [
        (name, field)
        for name in RECORDED
        for field in (("name", "avatar_url") if name.startswith("devs") else ("stars", "forks", "period_stars"))
        if name not in SHORT
    ],
)
def test_a_recorded_page_without_a_field_is_degraded(name: str, field: str) -> None:
    key, page = read(name)
    rows = [msgspec.structs.replace(row, **{field: None}) for row in page.rows]
    assert not judge(key, len(rows), filled(key.section, rows), 0, []).is_good


@recorded
def test_a_recorded_page_whose_rows_are_gone_is_refused_by_the_parser() -> None:
    assert RECORDINGS is not None
    html = (RECORDINGS / "repos_all_daily_2026-05-13.html").read_text()
    with pytest.raises(TrendingParseError):
        parse_repositories(html.replace("<article", "<section").replace("</article", "</section"))


def test_filled_counts_what_rows_have() -> None:
    bare = TrendingRepository(1, "made-up", "sample", None, None, None, None, None, None, ())
    assert filled("repositories", [bare, msgspec.structs.replace(bare, stars=0)]) == counts(0, stars=1)

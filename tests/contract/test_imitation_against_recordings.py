"""The imitation GitHub beside recordings of the real one: header names, keys, `Link` forms, error bodies, markup.

Whatever is asserted of both was recorded; what GitHub has changed since then is named here. Skipped without RECORDINGS_DIR.
"""

import json
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from selectolax.lexbor import LexborHTMLParser, LexborNode
from yarl import URL

from github_client.protocol import parse_links
from local.imitation_github import credentials, make_app

pytestmark = pytest.mark.skipif(
    not os.environ.get("RECORDINGS_DIR"), reason="RECORDINGS_DIR names no folder of recordings"
)
RECORDINGS = Path(os.environ.get("RECORDINGS_DIR", "."))
Client = TestClient[web.Request, web.Application]
OWNER = {"Authorization": f"Bearer {credentials.OWNER_TOKEN}"}
FINE_GRAINED = {"Authorization": f"Bearer {credentials.FINE_GRAINED_TOKEN}"}
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TRANSPORT = {"date", "server", "content-encoding", "transfer-encoding", "content-length", "connection"}
"""Headers of the connection rather than of the answer."""


@pytest.fixture
async def github() -> AsyncIterator[Client]:
    async with TestClient(TestServer(make_app(clock=lambda: NOW))) as client:
        yield client


def recorded(name: str, place: int = 0) -> dict[str, Any]:
    exchanges: list[dict[str, Any]] = json.loads((RECORDINGS / "rest" / f"{name}.json").read_text())["exchanges"]
    return exchanges[place]


async def answer(github: Client, path: str, **headers: str) -> dict[str, Any]:
    """An answer of the imitation in the form of a recording."""
    url = URL(f"{str(github.make_url('')).rstrip('/')}{path}", encoded=True)  # exactly as written
    response = await github.session.get(url, headers=headers, allow_redirects=False)
    text = await response.text()
    is_json = response.content_type == "application/json"
    return {
        "status": response.status,
        "headers": dict(response.headers),
        "body": json.loads(text) if text and is_json else text,
    }


def header_names(exchange: dict[str, Any]) -> set[str]:
    return {name.lower() for name in exchange["headers"]} - TRANSPORT


def header(exchange: dict[str, Any], name: str) -> str:
    values = [value for each, value in exchange["headers"].items() if each.lower() == name.lower()]
    return ", ".join(values[0]) if isinstance(values[0], list) else str(values[0])


def keys(value: Any) -> Any:
    """The keys of an object and of the objects in it; the text of a value tells nothing."""
    return {name: keys(each) for name, each in value.items()} if isinstance(value, dict) else None


def path_form(url: str) -> str:
    """A path with its names and numbers left out, and the names of its parameters."""
    parts = urlsplit(url)
    path = re.sub(r"/(users|repos)/[^/]+(/[^/]+(?=/|$))?", r"/\1", re.sub(r"/\d+", "/N", parts.path))
    return f"{path}?{'&'.join(part.partition('=')[0] for part in parts.query.split('&'))}"


async def test_a_developer_has_the_recorded_keys_and_headers(github: Client) -> None:
    ours, theirs = await answer(github, "/users/tobin-varga", **OWNER), recorded("user_named")
    assert keys(ours["body"]) == keys(theirs["body"])
    assert list(ours["body"]) == list(theirs["body"])
    assert header_names(ours) == header_names(theirs)
    for name in ("Cache-Control", "Vary", "Content-Type", "X-GitHub-Media-Type", "Access-Control-Expose-Headers"):
        assert header(ours, name) == header(theirs, name)
    assert re.fullmatch(r'W/"[0-9a-f]{64}"', header(theirs, "ETag"))
    assert re.fullmatch(r'W/"[0-9a-f]{64}"', header(ours, "ETag"))


async def test_a_repository_has_the_recorded_keys_and_headers(github: Client) -> None:
    ours, theirs = await answer(github, "/repos/lantern-labs/kettle", **OWNER), recorded("repo_setup")
    assert set(ours["body"]) == set(theirs["body"])
    for name in ("owner", "license", "permissions", "organization"):
        assert keys(ours["body"][name]) == keys(theirs["body"][name])
    assert header_names(ours) == header_names(theirs)
    templates = {name: value for name, value in theirs["body"].items() if name.endswith("_url") and "{" in str(value)}
    assert len(templates) > 15
    for name, value in templates.items():
        assert str(ours["body"][name]).partition("kettle")[2] == str(value).partition("PyGithub/PyGithub")[2], name


async def test_values_have_the_recorded_types(github: Client) -> None:
    for path, name in (("/users/mira-tallow", "user_named"), ("/repos/lantern-labs/kettle", "repo_setup")):
        ours, theirs = (await answer(github, path, **OWNER))["body"], recorded(name)["body"]
        for key, value in theirs.items():
            if value is not None and ours[key] is not None:
                assert type(ours[key]) is type(value), key
            if key.endswith("_at"):
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", ours[key])


async def test_ones_own_profile_has_the_recorded_keys(github: Client) -> None:
    ours, theirs = await answer(github, "/user", **OWNER), recorded("readme_json_2020")
    added_since = {"user_view_type", "notification_email"}
    assert set(theirs["body"]) <= set(ours["body"]) <= set(theirs["body"]) | added_since | {"twitter_username"}


async def test_a_readme_has_the_recorded_keys(github: Client) -> None:
    theirs = recorded("readme_json_2020", 2)
    ours = await answer(github, "/repos/mira-tallow/lantern/readme", **OWNER)
    assert keys(ours["body"]) == keys(theirs["body"])
    assert {len(line) for line in ours["body"]["content"].split("\n")[:-2]} == {60}
    assert {len(line) for line in theirs["body"]["content"].split("\n")[:-2]} <= {60}


async def test_events_have_the_recorded_keys_headers_and_links(github: Client) -> None:
    theirs = recorded("user_public_events")
    for login in ("mira-tallow", "lantern-labs"):
        ours = await answer(github, f"/users/{login}/events/public", **OWNER)
        if "Link" in ours["headers"]:
            break
    assert header_names(ours) == header_names(theirs)
    assert header(ours, "X-Poll-Interval") == header(theirs, "X-Poll-Interval")
    assert list(parse_links(header(ours, "Link"))) == list(parse_links(header(theirs, "Link")))
    assert {path_form(url) for url in parse_links(header(ours, "Link")).values()} == {
        path_form(url) for url in parse_links(header(theirs, "Link")).values()
    }
    second_of_theirs = parse_links(header(recorded("user_public_events", 1), "Link"))
    assert list(second_of_theirs) == ["prev", "next", "last", "first"]


async def test_each_kind_of_event_has_the_recorded_payload(github: Client) -> None:
    # In October 2025 GitHub took these out of what it tells, and gave WatchEvent and ForkEvent the same form.
    gone = {"PushEvent": {"commits", "size", "distinct_size"}}
    come = {"ForkEvent": {"action"}, "PushEvent": {"repository_id"}}
    theirs: dict[str, Any] = {}
    for name in ("public_events", "user_public_events"):
        for exchange in json.loads((RECORDINGS / "rest" / f"{name}.json").read_text())["exchanges"]:
            theirs |= {event["type"]: event for event in exchange["body"]}
    ours: dict[str, Any] = {}
    for page in (1, 2, 3):
        body = (await answer(github, f"/users/lantern-labs/received_events?per_page=100&page={page}", **OWNER))["body"]
        ours |= {event["type"]: event for event in body}
    compared = set(ours) & set(theirs)
    assert {"PushEvent", "WatchEvent", "CreateEvent", "PullRequestEvent", "IssueCommentEvent", "ForkEvent"} <= compared
    for kind in compared:
        assert set(ours[kind]) - {"org"} == set(theirs[kind]) - {"org"}
        assert keys(ours[kind]["actor"]) == keys(theirs[kind]["actor"])
        assert keys(ours[kind]["repo"]) == keys(theirs[kind]["repo"])
        expected = (set(theirs[kind]["payload"]) - gone.get(kind, set())) | come.get(kind, set())
        assert set(ours[kind]["payload"]) == expected, kind
    issue = {"draft", "pull_request"}  # of pull requests only
    assert (
        set(ours["IssueCommentEvent"]["payload"]["issue"])
        == set(theirs["IssueCommentEvent"]["payload"]["issue"]) - issue
    )


async def test_received_events_tell_only_their_next_page(github: Client) -> None:
    ours, theirs = await answer(github, "/users/lantern-labs/received_events"), recorded("received_events_2012")
    assert list(parse_links(header(ours, "Link"))) == list(parse_links(header(theirs, "Link"))) == ["next"]


async def test_a_search_has_the_recorded_headers_and_links(github: Client) -> None:
    ours = await answer(github, "/search/repositories?q=a+language%3ARust&per_page=5", **FINE_GRAINED)
    theirs = recorded("search_incomplete_results")
    assert header_names(ours) == header_names(theirs) - {"x-accepted-github-permissions"}
    assert header(ours, "Cache-Control") == header(theirs, "Cache-Control") == "no-cache"
    assert list(parse_links(header(ours, "Link"))) == list(parse_links(header(theirs, "Link"))) == ["next", "last"]
    assert header(ours, "Link").split(">")[0].endswith("/search/repositories?q=a+language%3ARust&per_page=5&page=2")
    assert header(theirs, "Link").split(">")[0].endswith("&per_page=5&page=2")
    assert list(ours["body"]) == list(theirs["body"])


async def test_search_items_have_the_recorded_keys(github: Client) -> None:
    ours = await answer(github, "/search/repositories?q=lantern")
    theirs = recorded("search_repos_pyg2014")
    gone = {"master_branch"}
    assert set(theirs["body"]["items"][0]) - gone <= set(ours["body"]["items"][0])
    assert not {"subscribers_count", "network_count", "organization"} & set(ours["body"]["items"][0])
    ours, theirs = await answer(github, "/search/users?q=mira"), recorded("search_users_pages")
    assert set(ours["body"]["items"][0]) - set(theirs["body"]["items"][0]) == {"node_id", "user_view_type"}
    assert set(theirs["body"]["items"][0]) <= set(ours["body"]["items"][0])


async def test_a_search_that_finds_nothing_is_as_recorded(github: Client) -> None:
    ours, theirs = (
        await answer(github, "/search/repositories?q=doesnotexist&per_page=1"),
        recorded("search_repos_noresults"),
    )
    assert ours["body"] == theirs["body"]
    assert "Link" not in ours["headers"]


async def test_a_move_is_as_recorded(github: Client) -> None:
    ours, theirs = await answer(github, "/repos/mira-tallow/old-lantern"), recorded("repo_301_renamed")
    assert ours["status"] == theirs["status"] == 301
    assert keys(ours["body"]) == keys(theirs["body"])
    assert ours["body"]["message"] == theirs["body"]["message"]
    assert path_form(header(ours, "Location")) == path_form(header(theirs, "Location"))
    assert ours["body"]["url"] == header(ours, "Location")


async def test_a_304_is_as_recorded(github: Client) -> None:
    etag = header(await answer(github, "/repos/mira-tallow/lantern"), "ETag")
    ours = await answer(github, "/repos/mira-tallow/lantern", **{"If-None-Match": etag})
    theirs = recorded("conditional_304")
    assert ours["status"] == theirs["status"] == 304
    assert not ours["body"]
    assert not theirs["body"]
    assert {"etag", "last-modified", "cache-control", "x-ratelimit-remaining"} <= header_names(ours) & header_names(
        theirs
    )


async def test_limits_are_told_as_recorded(github: Client) -> None:
    ours, theirs = await answer(github, "/rate_limit", **FINE_GRAINED), recorded("rate_limit")
    assert keys(ours["body"]["rate"]) == keys(theirs["body"]["rate"])
    for bucket in ("core", "search"):
        assert keys(ours["body"]["resources"][bucket]) == keys(theirs["body"]["resources"][bucket])
        assert ours["body"]["resources"][bucket]["limit"] == theirs["body"]["resources"][bucket]["limit"]
    assert header_names(ours) == header_names(theirs)
    assert header(ours, "Vary") == header(theirs, "Vary")


@pytest.mark.parametrize(
    ("recording", "place", "path", "headers"),
    [
        ("err_401_bad_credentials", 0, "/user", {"Authorization": "token x"}),
        ("err_404_unknown", 1, "/repos/mira-tallow/Xxx", {}),
    ],
)
async def test_errors_have_the_recorded_status_and_words(
    github: Client, recording: str, place: int, path: str, headers: dict[str, str]
) -> None:
    ours, theirs = await answer(github, path, **headers), recorded(recording, place)
    assert (ours["status"], ours["body"]["message"]) == (theirs["status"], theirs["body"]["message"])


async def test_a_validation_error_has_the_recorded_keys(github: Client) -> None:
    ours, theirs = await answer(github, "/search/users"), recorded("err_422_validation_2022", 1)
    assert (ours["status"], ours["body"]["message"]) == (theirs["status"], theirs["body"]["message"])
    assert set(ours["body"]) == {*theirs["body"], "status"}
    assert set(ours["body"]["errors"][0]) == set(theirs["body"]["errors"][0])


@pytest.mark.parametrize(
    ("recording", "told"),
    [
        ("err_403_abuse_2018", {"variant": "abuse"}),
        ("err_403_secondary_ghlimitedby", {"variant": "gh_limited_by"}),
        ("err_403_secondary_body_only", {"variant": "body_only"}),
        ("err_429_secondary_retry_after", {"variant": "retry_after"}),
        ("err_429_secondary_no_retry_after", {"variant": "no_retry_after"}),
    ],
)
async def test_secondary_limits_have_the_recorded_signs(github: Client, recording: str, told: dict[str, str]) -> None:
    theirs = recorded(recording, 1)
    await github.post("/_imitation/faults", json={"kind": "secondary_limit", **told})
    ours = await answer(github, "/repos/mira-tallow/lantern", **OWNER)
    assert ours["status"] == theirs["status"]
    assert ours["body"]["message"].rstrip(".") == theirs["body"]["message"].rstrip(".")
    signs = re.compile(r"retry-after|gh-limited-by|x-ratelimit-(limit|remaining|reset)")
    assert {name for name in header_names(ours) if signs.fullmatch(name)} == {
        name for name in header_names(theirs) if signs.fullmatch(name)
    }


async def test_html_labelled_as_json_is_as_recorded(github: Client) -> None:
    theirs = recorded("err_non_json_body")
    await github.post("/_imitation/faults", json={"kind": "html_body"})
    response = await github.get("/users/mira-tallow")
    assert (response.status, response.headers["Content-Type"]) == (theirs["status"], header(theirs, "Content-Type"))
    assert await response.text() == theirs["body"]


# Trending pages

REPOSITORY_PAGES = ["repos_all_daily_2026-05-13", "repos_all_weekly_2026-05-13", "repos_rust_weekly_2026-05-07"]
ANCHORS = [
    "h2 a[href]",
    "h2 a svg",
    "h2 a span",
    "p",
    "[itemprop=programmingLanguage]",
    "[style*=background-color]",
    'a[href$="/stargazers"] svg[aria-label=star]',
    'a[href$="/forks"] svg[aria-label=fork]',
    'a[data-hovercard-type=user] img[alt^="@"]',
    'a[href^="/apps/"] img[alt^="@"]',
    'a[href^="/sponsors/"]',
    'a[href^="/login?return_to=%2F"]',
    "span.float-sm-right",
]
"""What a reader of rows may hold on to."""


def recorded_page(name: str) -> LexborHTMLParser:
    return LexborHTMLParser((RECORDINGS / "trending-html" / f"{name}.html").read_text())


def the(row: LexborNode, selector: str) -> LexborNode:
    """The first element within that fits."""
    found = row.css_first(selector)
    assert found is not None, selector
    return found


def rows(page: LexborHTMLParser) -> list[LexborNode]:
    found = page.css("article.Box-row")
    assert len(found) >= 10
    return found


def shapes(row: LexborNode) -> set[tuple[str, ...]]:
    """Every element of a row with those around it: tags and classes, without the drawing of icons."""
    found = set()
    for node in row.css("*"):
        steps: list[str] = []
        each: LexborNode | None = node
        while each is not None and each.tag != "div":
            steps.append(f"{each.tag}.{'.'.join(sorted((each.attrs.get('class') or '').split()))}")
            each = each.parent
        if node.tag != "path":
            found.add(tuple(steps))
    return found


async def our_pages(github: Client, paths: tuple[str, ...]) -> list[LexborHTMLParser]:
    return [LexborHTMLParser(await (await github.get(path)).text()) for path in paths]


async def test_rows_of_repositories_have_the_recorded_anchors_and_shapes(github: Client) -> None:
    ours = [
        row
        for page in await our_pages(github, ("/trending", "/trending?since=weekly", "/trending/rust", "/trending/go"))
        for row in rows(page)
    ]
    theirs = [row for name in REPOSITORY_PAGES for row in rows(recorded_page(name))]
    for anchor in ANCHORS:
        assert any(row.css_first(anchor) for row in theirs), anchor
        assert any(row.css_first(anchor) for row in ours), anchor
    assert set().union(*map(shapes, ours)) <= set().union(*map(shapes, theirs))
    for found in (ours, theirs):
        first_links = {(the(row, "a").attrs["href"] or "").split("/")[1].partition("?")[0] for row in found}
        assert first_links == {"sponsors", "login"}


async def test_texts_of_rows_are_written_as_recorded(github: Client) -> None:
    [ours] = await our_pages(github, ("/trending?since=weekly",))
    for page in (ours, recorded_page("repos_all_weekly_2026-05-13")):
        for row in rows(page):
            assert re.fullmatch(r"\s*[\w.-]+ /\n\s+[\w.-]+", the(row, "h2 a").text())
            assert re.fullmatch(r"\s*[\d,]+ stars? this week\s*", the(row, "span.float-sm-right").text())
            assert re.fullmatch(r"\s*\d{1,3}(,\d{3})*", the(row, 'a[href$="/stargazers"]').text())


async def test_rows_of_developers_have_the_recorded_anchors(github: Client) -> None:
    [ours] = await our_pages(github, ("/trending/developers",))
    theirs = recorded_page("devs_gotrending_2022-04-09")
    for page in (ours, theirs):
        found = rows(page)
        for row in found:
            assert (row.attrs["id"] or "").startswith("pa-")
            assert row.css_first('a[href^="/"] img[alt^="@"][width="48"]')
            assert row.css_first("h1.h3 a[href]")
        assert any(row.css_first("p.f4 a") for row in found)
        assert any(row.css_first("article h1.h4 a") is None for row in found)
        assert any(row.css_first("article h1.h4 + div") for row in found)


async def test_the_menu_has_the_recorded_slugs_for_the_recorded_names(github: Client) -> None:
    theirs = json.loads((RECORDINGS / "trending-html" / "menu_2026-05-13.json").read_text())
    [page] = await our_pages(github, ("/trending",))
    ours = {
        link.text().strip(): (link.attrs["href"] or "").partition("?")[0].removeprefix("/trending/")
        for link in page.css("#select-menu-language [data-filter-list] a")
    }
    assert len(ours) > 800
    languages = next(value for value in theirs.values() if len(value) > 500)
    pairs = languages.items() if isinstance(languages, dict) else [tuple(pair) for pair in languages]
    by_name = {name: slug for slug, name in pairs}
    common = set(ours) & set(by_name)
    assert len(common) > 780
    assert {name: ours[name] for name in common} == {name: by_name[name] for name in common}


async def test_pages_have_the_recorded_size(github: Client) -> None:
    ours = len(await (await github.get("/trending")).read())
    theirs = (RECORDINGS / "trending-html" / "repos_all_daily_2026-05-13.html").stat().st_size
    assert 0.5 < ours / theirs < 1.5

"""The data services with a scripted GitHub: answers, validators, lifetimes, wrong input. One application at a time."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from yarl import URL

import developer_service.app
import repo_service.app
import search_service.app
from tests.fakes.github_objects import event, repository
from tests.fakes.upstream import ScriptedUpstream

Client = TestClient[web.Request, web.Application]
MakeClient = Callable[[web.Application], Awaitable[Client]]
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
CALLER = {"Authorization": "Bearer ghp_of_the_caller"}


def trending_page(row: str) -> bytes:
    """A page as small as one can be that the parser takes for one."""
    return f"<html><body><main>{row}</main></body></html>".encode()


REPOSITORY_ROW = (
    "<article><h2><a href='/made-up/sample'>made-up / sample</a></h2><p>A sample</p>"
    "<span itemprop='programmingLanguage'>Rust</span><a href='/made-up/sample/stargazers'>1,234</a>"
    "<a href='/made-up/sample/forks'>56</a><span>78 stars today</span></article>"
)
DEVELOPER_ROW = (
    "<article id='pa-made-up'><a href='/made-up'><img alt='@made-up' src='https://avatars.example/u/7'></a>"
    "<h1><a href='/made-up'>Made Up</a></h1><p><a href='/made-up'>made-up</a></p></article>"
)


@pytest.fixture
async def github() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as started:
        yield started


@pytest.fixture
def serve(github: ScriptedUpstream, aiohttp_client: MakeClient) -> Callable[[ModuleType], Awaitable[Client]]:
    async def start(module: ModuleType) -> Client:
        settings = module.Settings(
            database_url=NOWHERE,
            secret_key="k" * 32,
            github_api_url=github.url,
            github_web_url=github.url,
            github_tokens="ghp_of_the_operator",
        )
        return await aiohttp_client(module.make_app(settings))

    return start


Serve = Callable[[ModuleType], Awaitable[Client]]


def asked(github: ScriptedUpstream) -> list[str]:
    """What GitHub was asked, without the check of the operator's credentials at the start."""
    return [one.target for one in github.asked if one.target != "/rate_limit"]


async def test_a_trending_page_becomes_rows(serve: Serve, github: ScriptedUpstream) -> None:
    github.answer("/trending/rust", trending_page(REPOSITORY_ROW))
    client = await serve(repo_service.app)
    response = await client.get("/v1/trending/repositories?language=rust&since=weekly&spoken_language_code=zh")
    answer = await response.json()
    assert asked(github) == ["/trending/rust?since=weekly&spoken_language_code=zh"]
    assert "Authorization" not in github.asked[-1].headers
    [row] = answer["data"]
    assert (row["owner"], row["name"], row["stars"], row["forks"], row["period_stars"]) == (
        "made-up",
        "sample",
        1234,
        56,
        78,
    )
    assert answer["meta"]["stale"] is False
    assert answer["meta"]["as_of"].endswith("Z")


async def test_a_page_without_rows_is_a_fault_and_shows_in_readiness(serve: Serve, github: ScriptedUpstream) -> None:
    github.answer("/trending", trending_page("<p>Something new</p>"))
    client = await serve(repo_service.app)
    response = await client.get("/v1/trending/repositories")
    assert response.status == 502
    assert (await response.json(content_type=None))["code"] == "upstream_fault"
    assert "trending" in (await (await client.get("/health/ready")).json())["degraded"]


async def test_a_trending_developer_without_a_popular_repository_has_an_empty_one(
    serve: Serve, github: ScriptedUpstream
) -> None:
    github.answer("/trending/developers", trending_page(DEVELOPER_ROW))
    client = await serve(developer_service.app)
    rows = await (await client.get("/trending-developers")).json()
    assert rows == [
        {"username": "made-up", "avatar": "https://avatars.example/u/7", "repo": {"name": "", "description": None}}
    ]


async def test_the_same_data_has_the_same_etag_and_need_not_be_sent_again(
    serve: Serve, github: ScriptedUpstream
) -> None:
    github.answer("/repos/made-up/sample", repository())
    github.answer("/repos/made-up/sample", repository(stargazers_count=2))
    client = await serve(repo_service.app)
    first = await client.get("/v1/repositories/made-up/sample")
    assert first.headers["Cache-Control"] == "public, max-age=300, stale-while-revalidate=3600, stale-if-error=86400"
    assert first.headers["Vary"] == "Authorization"
    as_of = datetime.fromisoformat((await first.json())["meta"]["as_of"])
    assert parsedate_to_datetime(first.headers["Last-Modified"]) == as_of.replace(microsecond=0)
    second = await client.get("/v1/repositories/made-up/sample", headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status, await second.read(), second.headers["ETag"]) == (304, b"", first.headers["ETag"])
    later = await serve(repo_service.app)  # with no copy of its own
    third = await later.get("/v1/repositories/made-up/sample", headers={"If-None-Match": first.headers["ETag"]})
    assert third.status == 200


@pytest.mark.parametrize("path", ["/repositories?owner=made-up&name=sample", "/v1/repositories/made-up/sample"])
async def test_an_answer_says_whether_it_is_a_copy_and_how_fresh(
    serve: Serve, github: ScriptedUpstream, path: str
) -> None:
    github.answer("/repos/made-up/sample", repository())
    client = await serve(repo_service.app)
    first, second = await client.get(path), await client.get(path)
    assert first.headers["Cache-Status"] == "wegit; fwd=miss"
    assert re.fullmatch(r"wegit; hit; ttl=(300|299)", second.headers["Cache-Status"])


async def test_a_repository_may_bring_its_readme(serve: Serve, github: ScriptedUpstream) -> None:
    github.answer("/repos/made-up/sample", repository())
    github.answer("/repos/made-up/sample/readme", b"# Hi")
    client = await serve(repo_service.app)
    answer = await (await client.get("/v1/repositories/made-up/sample?include=readme")).json()
    assert answer["data"]["full_name"] == "made-up/sample"
    assert answer["data"]["readme"] == {"format": "markdown", "content": "# Hi"}
    assert "missing" not in answer["meta"]


async def test_a_part_that_cannot_be_had_is_named_and_the_rest_is_there(serve: Serve, github: ScriptedUpstream) -> None:
    github.answer("/repos/made-up/sample", repository())
    github.answer("/repos/made-up/sample/readme", {"message": "Server Error"}, status=502)
    client = await serve(repo_service.app)
    response = await client.get("/v1/repositories/made-up/sample?include=readme")
    answer = await response.json()
    assert (answer["data"]["id"], answer["data"]["readme"], answer["meta"]["missing"]) == (70, None, ["readme"])
    assert response.headers["Cache-Control"].startswith("public, max-age=0")
    original = await (await client.get("/repositories?owner=made-up&name=sample")).json()
    assert (original["name"], original["readme"], original["missing"]) == ("sample", None, ["readme"])


async def test_an_answer_to_a_callers_token_is_private_and_unstored(serve: Serve, github: ScriptedUpstream) -> None:
    github.answer("/repos/made-up/sample", repository(private=True))
    client = await serve(repo_service.app)
    response = await client.get("/v1/repositories/made-up/sample", headers=CALLER)
    assert response.status == 200
    assert response.headers["Cache-Control"] == "private, no-store"
    assert "ETag" not in response.headers
    assert (await client.get("/v1/repositories/made-up/sample")).status == 404


@pytest.mark.parametrize(
    ("query", "accept", "wanted", "content"),
    [
        ("", "*/*", "markdown", "# Hi <b onclick=x>"),
        ("", "text/html,*/*", "html", "<b>hi</b>"),
        ("?format=html", "*/*", "html", "<b>hi</b>"),
        ("?format=markdown", "text/html", "markdown", "# Hi <b onclick=x>"),
    ],
)
async def test_a_readme_comes_as_markdown_or_as_clean_html(
    serve: Serve, github: ScriptedUpstream, query: str, accept: str, wanted: str, content: str
) -> None:
    body = b"<b onclick=x>hi</b>" if wanted == "html" else b"# Hi <b onclick=x>"
    github.answer("/repos/made-up/sample", repository())
    github.answer("/repos/made-up/sample/readme", body)
    client = await serve(repo_service.app)
    response = await client.get(f"/v1/repositories/made-up/sample/readme{query}", headers={"Accept": accept})
    assert (await response.json())["data"] == {"format": wanted, "content": content}
    assert response.headers["Vary"] == "Accept, Authorization"
    media_type = next(one.headers["Accept"] for one in github.asked if one.target.endswith("readme"))
    assert media_type == ("application/vnd.github.html+json" if wanted == "html" else "application/vnd.github.raw+json")


async def test_a_repository_without_a_readme_is_shown_without(serve: Serve, github: ScriptedUpstream) -> None:
    github.answer("/repos/made-up/sample", repository(subscribers_count=4))
    client = await serve(repo_service.app)
    original = await (await client.get("/repositories?owner=made-up&name=sample")).json()
    assert (original["readme"], original["subscribers_count"], original["open_issues"]) == (None, 4, 3)
    assert "missing" not in original
    assert (await client.get("/v1/repositories/made-up/sample/readme")).status == 404


async def test_an_unknown_count_is_left_out_for_the_original_client(serve: Serve, github: ScriptedUpstream) -> None:
    row = "<article><h2><a href='/made-up/sample'>made-up / sample</a></h2></article>"
    github.answer("/trending", trending_page(row))
    client = await serve(repo_service.app)
    rows = await (await client.get("/trending-repositories")).json()
    assert rows == [{"author": "made-up", "name": "sample", "description": None, "language": None}]


async def test_the_original_events_name_everyone(serve: Serve, github: ScriptedUpstream) -> None:
    github.answer(
        "/users/made-up/received_events",
        [event(1), event(2, actor={"login": "a", "display_login": "A", "avatar_url": "x"})],
        headers={"Link": '<https://api.github.com/user/7/received_events?page=3>; rel="next"'},
    )
    client = await serve(developer_service.app)
    response = await client.get("/developers/made-up/events?page=2", headers={"Authorization": "ghp_of_the_caller"})
    events = await response.json()
    assert [one["actor"]["display_login"] for one in events] == ["made-up", "A"]
    assert response.headers["Max-Page"] == "3"
    assert response.headers["Cache-Control"] == "private, no-store"
    assert github.asked[-1].headers["Authorization"] == "Bearer ghp_of_the_caller"


async def test_a_wrong_token_does_not_log_in(serve: Serve, github: ScriptedUpstream) -> None:
    github.answer("/user", {"message": "Bad credentials"}, status=401)
    client = await serve(developer_service.app)
    for token in ("ghp_wrong", "not%20a%20token", ""):
        response = await client.get(f"/developers?token={token}")
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert asked(github) == ["/user"]


async def test_a_searched_plus_reaches_github_as_a_plus(serve: Serve, github: ScriptedUpstream) -> None:
    github.answer("/search/repositories", {"total_count": 0, "incomplete_results": False, "items": []})
    client = await serve(search_service.app)
    await client.get("/search/repositories?name=c++")
    await client.get("/v1/search/repositories?q=a+b&sort=stars&order=asc")
    assert asked(github) == [
        "/search/repositories?q=c%2B%2B&page=1&per_page=30",
        "/search/repositories?q=a+b&page=1&sort=stars&order=asc&per_page=30",
    ]


async def test_search_pages_link_to_each_other(serve: Serve, github: ScriptedUpstream) -> None:
    link = '<https://api.github.com/search/users?q=x&page=4>; rel="next", <https://api.github.com/search/users?q=x&page=34>; rel="last"'
    github.answer(
        "/search/users", {"total_count": 5000, "incomplete_results": True, "items": []}, headers={"Link": link}
    )
    client = await serve(search_service.app)
    response = await client.get("/v1/search/developers?q=x&page=3")
    meta = (await response.json())["meta"]
    assert (meta["page"], meta["next_page"], meta["total_count"], meta["incomplete_results"]) == (3, 4, 5000, True)
    assert response.headers["Link"] == (
        '<?q=x&page=1>; rel="first", <?q=x&page=2>; rel="prev", <?q=x&page=4>; rel="next", <?q=x&page=34>; rel="last"'
    )


WRONG_INPUT = [
    (repo_service.app, "/v1/repositories/-x/sample", 400, "owner"),
    (repo_service.app, "/v1/repositories/made-up/a%20b", 400, "name"),
    (repo_service.app, "/v1/repositories/made-up/%2e%2e", 400, "name"),
    (repo_service.app, "/repositories?owner=made-up", 400, "name"),
    (repo_service.app, "/repositories?owner=..&name=sample", 400, "owner"),
    (repo_service.app, "/repositories?owner=made-up&name=a%00b", 400, "name"),
    (repo_service.app, "/repositories?owner=made-up&name=a%0d%0ab", 400, "name"),
    (repo_service.app, "/v1/trending/repositories?since=yearly", 422, "since"),
    (repo_service.app, "/v1/trending/repositories?language=rustt", 422, "language"),
    (repo_service.app, "/v1/trending/repositories?language=" + "x" * 5000, 422, "language"),
    (repo_service.app, "/v1/trending/repositories?language=%zz", 400, "language"),
    (repo_service.app, "/v1/trending/repositories?spoken_language_code=zh-CN", 422, "spoken_language_code"),
    (repo_service.app, "/v1/repositories/made-up/sample/readme?format=pdf", 422, "format"),
    (developer_service.app, "/v1/developers/a..b", 400, "login"),
    (developer_service.app, "/v1/developers/made-up/events?page=0", 400, "page"),
    (developer_service.app, "/v1/developers/made-up/events?page=11", 422, "page"),
    (developer_service.app, "/developers", 400, "name"),
    (developer_service.app, "/developers?name=a&token=b", 400, "name"),
    (developer_service.app, "/v1/me", 401, None),
    (search_service.app, "/v1/search/repositories", 400, "q"),
    (search_service.app, "/v1/search/repositories?q=" + "x" * 257, 422, "q"),
    (search_service.app, "/v1/search/repositories?q=x&page=35", 422, "page"),
    (search_service.app, "/v1/search/repositories?q=100%", 400, "q"),
    (search_service.app, "/v1/search/repositories?q=x&sort=age", 422, "sort"),
    (search_service.app, "/v1/search/developers?q=x&q=y", 400, "q"),
]


@pytest.mark.parametrize(("module", "path", "status", "parameter"), WRONG_INPUT)
async def test_wrong_input_is_named_and_github_is_not_asked(
    serve: Serve, github: ScriptedUpstream, module: ModuleType, path: str, status: int, parameter: str | None
) -> None:
    client = await serve(module)
    response = await client.get(URL(path, encoded=True))
    problem: dict[str, Any] = json.loads(await response.read())
    assert (response.status, problem.get("parameter")) == (status, parameter)
    assert response.content_type == "application/problem+json"
    assert asked(github) == []


@pytest.mark.parametrize(
    ("module", "path", "status"),
    [
        (repo_service.app, "/trending-repositories?language=no-such-language", 422),
        (developer_service.app, "/trending-developers?since=yearly", 422),
        (developer_service.app, "/developers/made-up/events?page=0", 400),
        (search_service.app, "/search/repositories?name=100%", 400),
        (search_service.app, "/search/repositories?name=x&page=99", 422),
        (search_service.app, "/search/repositories", 400),
    ],
)
async def test_on_the_original_lists_wrong_input_is_an_empty_list(
    serve: Serve, github: ScriptedUpstream, module: ModuleType, path: str, status: int
) -> None:
    client = await serve(module)
    response = await client.get(URL(path, encoded=True))
    assert (response.status, await response.read()) == (status, b"[]")
    assert asked(github) == []

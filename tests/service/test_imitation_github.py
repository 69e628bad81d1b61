"""The imitation GitHub keeps GitHub's rules: who sees what, what counts, what is a 304, and it fails when told to."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from github_client.protocol import page_of, parse_links, recognise_limit
from github_client.trending.parser import TrendingParseError, parse_developers, parse_language_menu, parse_repositories
from local.imitation_github import credentials, make_app
from local.imitation_github.state import STATE

Client = TestClient[web.Request, web.Application]
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OWNER = {"Authorization": f"Bearer {credentials.OWNER_TOKEN}"}
READER = {"Authorization": f"token {credentials.READER_TOKEN}"}
LANTERN = "/repos/mira-tallow/lantern"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def github(clock: Clock) -> AsyncIterator[Client]:
    async with TestClient(TestServer(make_app(clock=clock))) as client:
        yield client


async def get(github: Client, path: str, **headers: str) -> tuple[aiohttp.ClientResponse, Any]:
    response = await github.get(path, headers=headers, allow_redirects=False)
    return response, json.loads(await response.read() or b"null")


def path_of(github: Client, url: str) -> str:
    """The path and query of an address, which must be the imitation's own."""
    base = str(github.make_url("")).rstrip("/")
    assert url.startswith(f"{base}/")
    return url.removeprefix(base)


async def fault(github: Client, **told: Any) -> None:
    response = await github.post("/_imitation/faults", json=told)
    assert response.status == 201, await response.text()


async def requests(github: Client) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = await (await github.get("/_imitation/requests")).json()
    return seen


# What is there


async def test_the_same_seed_and_time_give_the_same_answers(clock: Clock) -> None:
    bodies = []
    for seed in (7, 7, 8):
        async with TestClient(TestServer(make_app(seed=seed, clock=clock), port=0)) as client:
            page = await (await client.get("/trending?since=weekly")).text()
            bodies.append([(row.owner, row.name, row.stars) for row in parse_repositories(page).rows])
    assert bodies[0] == bodies[1] != bodies[2]
    assert len(bodies[0]) > 10


async def test_the_world_has_a_believable_size(github: Client) -> None:
    world = github.app[STATE].world if github.app else None
    assert world is not None
    assert len(world.accounts) >= 250
    assert sum(1 for repository in world.repositories if repository.stars_per_day) >= 400
    assert max(repository.stars for repository in world.repositories) > 50_000
    assert any(repository.description is None for repository in world.repositories)
    assert any(repository.license is None for repository in world.repositories)
    assert len({repository.id for repository in world.repositories}) == len(world.repositories)
    assert len({account.id for account in world.accounts}) == len(world.accounts)


async def test_a_renamed_repository_is_answered_with_301_to_its_number(github: Client) -> None:
    for rest in ("", "/readme"):
        response, body = await get(github, f"/repos/Mira-Tallow/Old-Lantern{rest}")
        location = response.headers["Location"]
        assert (response.status, body["message"], body["url"]) == (301, "Moved Permanently", location)
        assert location == str(github.make_url(f"/repositories/600000001{rest}"))
    _, repository = await get(github, "/repositories/600000001")
    assert repository["full_name"] == "mira-tallow/lantern"


@pytest.mark.parametrize("path", ["/repos/mira-tallow/private-ledger", "/repos/lantern-labs/private-plans"])
async def test_a_private_repository_is_missing_for_all_but_its_owner(github: Client, path: str) -> None:
    missing = await get(github, "/repos/mira-tallow/nothing")
    for headers in ({}, READER, {"Authorization": f"Bearer {credentials.FINE_GRAINED_TOKEN}"}):
        response, body = await get(github, path, **headers)
        assert (response.status, body) == (404, missing[1])
    response, body = await get(github, path, **OWNER)
    assert (response.status, body["private"], body["visibility"]) == (200, True, "private")


async def test_private_things_are_found_and_told_of_only_for_their_owner(github: Client) -> None:
    for path in ("/search/repositories?q=private-", "/search/repositories?q=user:mira-tallow"):
        _, mine = await get(github, path, **OWNER)
        _, others = await get(github, path, **READER)
        assert any(item["private"] for item in mine["items"])
        assert not any(item["private"] for item in others["items"])
    for path in ("/users/mira-tallow/events", "/users/mira-tallow/received_events?per_page=100"):
        _, mine = await get(github, path, **OWNER)
        _, others = await get(github, path, **READER)
        assert not all(event["public"] for event in mine)
        assert others
        assert all(event["public"] for event in others)
    _, public = await get(github, "/users/mira-tallow/events/public", **OWNER)
    assert public
    assert all(event["public"] for event in public)


@pytest.mark.parametrize(
    ("repository", "path"),
    [
        ("mira-tallow/lantern", "README.md"),
        ("tobin-varga/restructured", "readme.rst"),
        ("liuyunhe/docs-readme", "docs/README.md"),
        ("liuyunhe/plain-readme", "README"),
    ],
)
async def test_a_readme_comes_as_json_raw_and_rendered(github: Client, repository: str, path: str) -> None:
    url = f"/repos/{repository}/readme"
    _, body = await get(github, url)
    assert (body["path"], body["encoding"]) == (path, "base64")
    raw = await github.get(url, headers={"Accept": "application/vnd.github.raw+json"})
    assert base64.b64decode(body["content"]) == await raw.read()
    assert raw.headers["Content-Type"] == "application/vnd.github.raw+json; charset=utf-8"
    html = await github.get(url, headers={"Accept": "application/vnd.github.html+json"})
    assert f'data-path="{path}"' in await html.text()


async def test_a_rendered_readme_has_no_script_but_the_raw_one_does(github: Client) -> None:
    raw = await (await github.get(f"{LANTERN}/readme", headers={"Accept": "application/vnd.github.raw"})).text()
    html = await (await github.get(f"{LANTERN}/readme", headers={"Accept": "application/vnd.github.html"})).text()
    for active in ("<script", "onerror", "javascript:"):
        assert active in raw
        assert active not in html
    assert 'href="docs/manual.md"' in html


async def test_a_readme_can_be_missing_and_can_be_large(github: Client) -> None:
    assert (await get(github, "/repos/tobin-varga/no-readme/readme"))[0].status == 404
    _, body = await get(github, "/repos/tobin-varga/large-readme/readme")
    assert 400_000 < body["size"] < 1_000_000


async def test_people_and_organisations_have_profiles(github: Client) -> None:
    _, organization = await get(github, "/users/lantern-labs")
    _, person = await get(github, "/users/TOBIN-varga")
    assert (organization["type"], person["type"], person["login"]) == ("Organization", "User", "tobin-varga")
    assert (person["bio"], person["location"], person["blog"]) == (None, None, "")


async def test_an_email_address_is_shown_to_those_who_are_signed_in(github: Client) -> None:
    assert (await get(github, "/users/mira-tallow"))[1]["email"] is None
    assert (await get(github, "/users/mira-tallow", **READER))[1]["email"] == "mira@mira.example"


async def test_an_avatar_is_a_picture(github: Client) -> None:
    _, person = await get(github, "/users/mira-tallow")
    picture = await (await github.get(f"{path_of(github, person['avatar_url'])}&s=40")).read()
    assert picture.startswith(b"\x89PNG")


# Lists


async def test_events_are_told_page_by_page_through_link(github: Client) -> None:
    url: str | None = "/users/lantern-labs/received_events"
    ids: list[int] = []
    forms = set()
    while url:
        response, events = await get(github, url, **READER)
        assert response.headers["X-Poll-Interval"] == "60"
        ids += [int(event["id"]) for event in events]
        links = parse_links(response.headers.get("Link"))
        forms.add(tuple(links))
        url = path_of(github, links["next"]) if links else None
        assert url is None or url.startswith("/user/")
    assert forms == {("next",), ()}
    assert 60 < len(ids) <= 300
    assert ids == sorted(ids, reverse=True)


async def test_events_stay_as_they_are_while_new_ones_come(github: Client, clock: Clock) -> None:
    _, before = await get(github, "/users/lantern-labs/received_events")
    clock.now += timedelta(hours=3)
    _, after = await get(github, "/users/lantern-labs/received_events?per_page=100")
    assert after[0]["id"] != before[0]["id"]
    assert [event for event in after if event["id"] == before[0]["id"]] == [before[0]]


async def test_many_kinds_of_events_happen_and_pushes_have_no_commits(github: Client) -> None:
    _, events = await get(github, "/users/lantern-labs/received_events?per_page=100")
    kinds = {event["type"]: event["payload"] for event in events}
    assert len(kinds) >= 8
    assert not {"commits", "size", "distinct_size"} & set(kinds["PushEvent"])


async def test_somebody_may_have_done_nothing(github: Client) -> None:
    response, events = await get(github, "/users/blank-slate/events")
    assert (response.status, events, "Link" in response.headers) == (200, [], False)


async def test_search_pages_are_linked_with_the_parameters_as_they_were(github: Client) -> None:
    response, body = await get(github, "/search/repositories?page=2&q=a&per_page=30", **READER)
    links = parse_links(response.headers["Link"])
    assert list(links) == ["prev", "next", "last", "first"]
    assert links["next"].endswith("/search/repositories?page=3&q=a&per_page=30")
    assert (page_of(links["last"]), len(body["items"])) == (34, 30)
    assert body["total_count"] > 1000


async def test_search_ends_after_a_thousand_results(github: Client) -> None:
    response, body = await get(github, "/search/repositories?q=a&page=34", **READER)
    assert (response.status, "next" in parse_links(response.headers["Link"])) == (200, False)
    response, body = await get(github, "/search/repositories?q=a&page=35", **READER)
    assert (response.status, body["message"]) == (422, "Only the first 1000 search results are available")


async def test_search_understands_words_qualifiers_and_order(github: Client) -> None:
    _, body = await get(github, "/search/repositories?q=language:rust+stars:100..5000&sort=stars&order=asc")
    stars = [item["stargazers_count"] for item in body["items"]]
    assert len(stars) > 3
    assert stars == sorted(stars)
    assert all(100 <= count <= 5000 for count in stars)
    assert {item["language"] for item in body["items"]} == {"Rust"}
    _, body = await get(github, "/search/repositories?q=%E5%B0%8F%E7%A8%8B%E5%BA%8F")
    assert body["items"]
    assert all("小程序" in item["description"] for item in body["items"])
    _, body = await get(github, "/search/users?q=type:org+lantern-la")
    assert [item["login"] for item in body["items"]] == ["lantern-labs"]


@pytest.mark.parametrize(
    "query", ["", "q=", f"q={'x' * 257}", "q=a+AND+b+OR+c+AND+d+OR+e+NOT+f+AND+g", "q=user:nobody-of-that-name"]
)
async def test_a_search_that_cannot_be_is_refused(github: Client, query: str) -> None:
    response, body = await get(github, f"/search/repositories?{query}")
    assert (response.status, body["message"]) == (422, "Validation Failed")
    assert body["errors"][0]["resource"] == "Search"


# Conditional requests


async def test_an_etag_that_still_holds_gives_304_and_costs_nothing(github: Client) -> None:
    first, _ = await get(github, LANTERN, **READER)
    etag = first.headers["ETag"]
    assert etag.startswith('W/"')
    again, body = await get(github, LANTERN, **READER, **{"If-None-Match": etag})
    assert (again.status, body, again.headers["ETag"]) == (304, None, etag)
    assert again.headers["X-RateLimit-Remaining"] == first.headers["X-RateLimit-Remaining"] == "4999"


async def test_an_etag_holds_for_the_same_caller_and_form_only(github: Client) -> None:
    etag = (await get(github, LANTERN, **READER))[0].headers["ETag"]
    for headers in (OWNER, {}, {**READER, "Accept": "application/vnd.github+json"}):
        response, _ = await get(github, LANTERN, **headers, **{"If-None-Match": etag})
        assert response.status == 200


async def test_an_etag_ends_when_the_data_change(github: Client, clock: Clock) -> None:
    first, before = await get(github, LANTERN)
    clock.now += timedelta(days=2)
    again, after = await get(github, LANTERN, **{"If-None-Match": first.headers["ETag"]})
    assert again.status == 200
    assert after["stargazers_count"] > before["stargazers_count"]


async def test_a_date_gives_304_too(github: Client) -> None:
    first, _ = await get(github, LANTERN)
    again, _ = await get(github, LANTERN, **{"If-Modified-Since": first.headers["Last-Modified"]})
    assert again.status == 304


async def test_a_search_has_no_etag(github: Client) -> None:
    response, _ = await get(github, "/search/repositories?q=lantern")
    assert "ETag" not in response.headers
    assert response.headers["Cache-Control"] == "no-cache"


# Credentials and limits


@pytest.mark.parametrize("authorization", [f"Bearer {credentials.REVOKED_TOKEN}", "token x", "Basic eHg=", "bare"])
async def test_a_wrong_credential_is_refused(github: Client, authorization: str) -> None:
    response, body = await get(github, LANTERN, Authorization=authorization)
    assert (response.status, body["message"]) == (401, "Bad credentials")


async def test_a_token_tells_whose_it_is_and_what_it_may(github: Client) -> None:
    response, body = await get(github, "/user", **OWNER)
    assert (body["login"], response.headers["X-OAuth-Scopes"]) == ("mira-tallow", "repo, user")
    assert "plan" in body
    response, body = await get(github, "/user", **READER)
    assert (body["login"], response.headers["X-OAuth-Scopes"]) == ("tobin-varga", "")
    assert "plan" not in body
    assert (await get(github, "/user"))[0].status == 401


async def test_an_app_may_use_its_id_and_secret(github: Client) -> None:
    basic = aiohttp.encode_basic_auth(credentials.CLIENT_ID, credentials.CLIENT_SECRET)
    response, _ = await get(github, LANTERN, Authorization=basic)
    assert (response.status, response.headers["X-RateLimit-Limit"]) == (200, "5000")


async def test_without_a_user_agent_nothing_is_answered(github: Client) -> None:
    response = await github.get(LANTERN, skip_auto_headers={"User-Agent"})
    assert (response.status, "User-Agent" in await response.text()) == (403, True)


@pytest.mark.parametrize(("version", "status"), [("2022-11-28", 200), ("2026-03-10", 200), ("1999-01-01", 400)])
async def test_only_known_versions_are_answered(github: Client, version: str, status: int) -> None:
    assert (await get(github, LANTERN, **{"X-GitHub-Api-Version": version}))[0].status == status


@pytest.mark.parametrize(("path", "headers", "budget"), [(LANTERN, {}, 60), ("/search/users?q=mira", READER, 30)])
async def test_a_budget_ends_and_begins_afresh_at_its_reset(
    github: Client, clock: Clock, path: str, headers: dict[str, str], budget: int
) -> None:
    remaining = [(await get(github, path, **headers))[0].headers["X-RateLimit-Remaining"] for _ in range(budget)]
    assert remaining == [str(left) for left in reversed(range(budget))]
    response, body = await get(github, path, **headers)
    assert response.status == 403
    assert body["message"].startswith("API rate limit exceeded for")
    limit = recognise_limit(403, response.headers, json.dumps(body).encode(), clock.now)
    assert limit
    assert limit.kind == "primary"
    clock.now += timedelta(seconds=limit.retry_after_seconds)
    assert (await get(github, path, **headers))[0].status == 200


async def test_budgets_are_each_callers_own_and_each_buckets_own(github: Client) -> None:
    await get(github, LANTERN)
    await get(github, LANTERN, **READER)
    await get(github, "/search/users?q=mira", **READER)
    _, body = await get(github, "/rate_limit", **READER)
    assert (body["resources"]["core"]["used"], body["resources"]["search"]["used"]) == (1, 1)
    assert body["rate"] == body["resources"]["core"]
    _, newer = await get(github, "/rate_limit", **READER, **{"X-GitHub-Api-Version": "2026-03-10"})
    assert newer == {"resources": body["resources"]}
    assert (await github.delete("/_imitation/limits")).status == 204
    assert (await get(github, "/rate_limit", **READER))[1]["rate"]["used"] == 0


@pytest.mark.parametrize(
    "path", ["/", "/repos/mira-tallow", f"{LANTERN}/", "/users/", "/repositories/x", "/user/0/events"]
)
async def test_an_unknown_path_is_not_found(github: Client, path: str) -> None:
    response, body = await get(github, path)
    assert (response.status, body["message"]) == (404, "Not Found")


# Trending pages


@pytest.mark.parametrize("since", ["daily", "weekly", "monthly"])
async def test_what_trends_is_in_the_api_too(github: Client, since: str) -> None:
    rows = parse_repositories(await (await github.get(f"/trending?since={since}")).read()).rows
    assert 11 <= len(rows) <= 25
    stars = [row.period_stars for row in rows]
    assert stars == sorted(stars, key=lambda count: -(count or 0))
    for row in rows:
        _, body = await get(github, f"/repos/{row.owner}/{row.name}", **READER)
        assert (row.stars, row.forks) == (body["stargazers_count"], body["forks_count"])
        assert (row.language, row.description) == (
            body["language"],
            " ".join(body["description"].split()) if body["description"] else None,
        )
        assert (await get(github, f"/repos/{row.owner}/{row.name}/readme", **READER))[0].status == 200


async def test_trending_developers_are_in_the_api_too(github: Client) -> None:
    rows = parse_developers(await (await github.get("/trending/developers")).read()).rows
    assert len(rows) == 25
    assert any(row.repository is None for row in rows)
    assert any(row.name is None for row in rows)
    for row in rows:
        _, body = await get(github, f"/users/{row.login}", **READER)
        assert (row.login, row.name) == (body["login"], body["name"])


@pytest.mark.parametrize(
    ("slug", "language"), [("c%23", "C#"), ("c++", "C++"), ("jupyter-notebook", "Jupyter Notebook")]
)
async def test_a_language_has_a_page_of_its_own(github: Client, slug: str, language: str) -> None:
    url = github.server.make_url("").with_path(f"/trending/{slug}", encoded=True)
    page = await (await github.session.get(url)).read()
    rows = parse_repositories(page).rows
    assert {row.language for row in rows} == {language}
    assert [each.slug for each in parse_language_menu(page) if each.name == language] == [slug]


async def test_rows_lack_what_their_repository_lacks(github: Client) -> None:
    rows = parse_repositories(await (await github.get("/trending/unknown")).read()).rows
    assert rows
    assert {row.language for row in rows} == {None}
    german = parse_repositories(await (await github.get("/trending?spoken_language_code=de&since=monthly")).read()).rows
    chinese = parse_repositories(await (await github.get("/trending?spoken_language_code=zh")).read()).rows
    assert german
    assert len(chinese) > len({row.name for row in chinese} & {row.name for row in german}) == 0


@pytest.mark.parametrize("path", ["/trending/cobol", "/trending/developers/cobol", "/trending?spoken_language_code=cy"])
async def test_where_nothing_trends_the_page_says_so(github: Client, path: str) -> None:
    page = await (await github.get(path)).read()
    parse = parse_developers if "developers" in path else parse_repositories
    assert parse(page).rows == ()
    assert "have any trending" in page.decode()


async def test_what_trends_changes_slowly(github: Client, clock: Clock) -> None:
    async def names() -> set[str]:
        return {row.name for row in parse_repositories(await (await github.get("/trending")).read()).rows}

    seen = [await names()]
    for _ in range(24):  # two days, through midnight
        clock.now += timedelta(hours=2)
        seen.append(await names())
    kept = [len(earlier & later) / min(len(earlier), len(later)) for earlier, later in pairwise(seen)]
    assert min(kept) > 0.5
    assert seen[0] == seen[1] or seen[1] == seen[2]
    assert len(seen[0] & seen[-1]) < len(seen[0])


# Steering


async def test_requests_are_logged_without_any_token(github: Client) -> None:
    await get(github, f"{LANTERN}?access_token={credentials.READER_TOKEN}", **OWNER, **{"If-None-Match": "x"})
    await get(github, "/repos/x/y")
    await get(github, "/user", Authorization=f"Bearer {credentials.REVOKED_TOKEN}")
    await github.get("/trending/rust?since=weekly")
    seen = await requests(github)
    assert [(entry["path"], entry["identity"], entry["status"], entry["conditional"]) for entry in seen] == [
        (LANTERN, "user:mira-tallow", 200, True),
        ("/repos/x/y", "anonymous", 404, False),
        ("/user", "bad credentials", 401, False),
        ("/trending/rust", "anonymous", 200, False),
    ]
    assert seen[-1]["query"] == "since=weekly"
    assert "imitation0" not in json.dumps(seen)
    await github.delete("/_imitation/requests")
    assert await requests(github) == []


async def test_a_fault_happens_where_and_as_often_as_told(github: Client) -> None:
    await fault(github, match="/repos/", kind="status", status=503, count=2)
    statuses = [(await get(github, path))[0].status for path in (LANTERN, "/users/mira-tallow", LANTERN, LANTERN)]
    assert statuses == [503, 200, 503, 200]
    assert [entry["fault"] for entry in await requests(github)] == ["status", None, "status", None]
    assert [each["hits"] for each in await (await github.get("/_imitation/faults")).json()] == [2]


async def test_a_fault_lasts_until_it_is_cleared(github: Client) -> None:
    await fault(github, match=r"^/trending.*since=weekly$", kind="status")
    assert [(await github.get(f"/trending?since={since}")).status for since in ("daily", "weekly", "weekly")] == [
        200,
        502,
        502,
    ]
    assert (await github.delete("/_imitation/faults")).status == 204
    assert (await github.get("/trending?since=weekly")).status == 200


async def test_a_faulty_answer_counts_for_no_limit(github: Client) -> None:
    await fault(github, kind="status")
    await get(github, LANTERN, **READER)
    await github.delete("/_imitation/faults")
    assert (await get(github, "/rate_limit", **READER))[1]["rate"]["used"] == 0


async def test_a_slow_answer_comes_when_the_fault_is_cleared(github: Client) -> None:
    await fault(github, kind="slow")
    waiting = asyncio.create_task(get(github, LANTERN))
    async with asyncio.timeout(5):
        while not await requests(github):
            await asyncio.sleep(0)
    assert not waiting.done()
    await github.delete("/_imitation/faults")
    assert (await asyncio.wait_for(waiting, 5))[0].status == 200


async def test_a_body_is_cut(github: Client) -> None:
    await fault(github, kind="cut_body", count=1)
    response = await github.get(LANTERN)
    assert response.status == 200
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()


async def test_a_connection_is_reset(github: Client) -> None:
    await fault(github, kind="reset")
    with pytest.raises(aiohttp.ClientConnectionError):
        await github.post(LANTERN)
    assert (await requests(github))[-1]["status"] is None


async def test_html_comes_labelled_as_json(github: Client) -> None:
    await fault(github, kind="html_body")
    response = await github.get(LANTERN)
    assert (response.status, response.content_type) == (503, "application/json")
    assert (await response.text()).startswith("<html>")


@pytest.mark.parametrize(
    ("told", "status", "kind", "seconds"),
    [
        ({"kind": "primary_limit"}, 403, "primary", 60),
        ({"kind": "primary_limit", "status": 429, "seconds": 20}, 429, "primary", 20),
        ({"kind": "secondary_limit", "variant": "retry_after", "seconds": 8}, 429, "secondary", 8),
        ({"kind": "secondary_limit", "variant": "retry_after_date", "seconds": 90}, 403, "secondary", 90),
        ({"kind": "secondary_limit", "variant": "gh_limited_by"}, 403, "secondary", 60),
        ({"kind": "secondary_limit", "variant": "no_retry_after"}, 429, "secondary", 60),
        ({"kind": "secondary_limit", "variant": "body_only"}, 403, "secondary", 60),
        ({"kind": "secondary_limit", "variant": "abuse"}, 403, "secondary", 60),
    ],
)
async def test_limits_come_in_every_recorded_form(
    github: Client, clock: Clock, told: dict[str, Any], status: int, kind: str, seconds: int
) -> None:
    await fault(github, **told)
    response = await github.get(LANTERN)
    limit = recognise_limit(response.status, response.headers, await response.read(), clock.now)
    assert limit
    assert (response.status, limit.kind) == (status, kind)
    assert seconds <= limit.retry_after_seconds <= seconds + 1


async def test_trending_pages_can_be_empty_renamed_or_without_counts(github: Client) -> None:
    whole = parse_repositories(await (await github.get("/trending")).read())
    await fault(github, match="/", kind="empty_trending", count=1)
    assert (await get(github, LANTERN))[0].status == 200
    with pytest.raises(TrendingParseError):
        parse_repositories(await (await github.get("/trending")).read())
    await fault(github, kind="renamed_classes", count=1)
    renamed = await (await github.get("/trending")).text()
    assert "Box-row" not in renamed
    assert parse_repositories(renamed) == whole
    await fault(github, kind="no_stars", count=1)
    bare = parse_repositories(await (await github.get("/trending")).read()).rows
    assert {(row.stars, row.forks, row.period_stars) for row in bare} == {(None, None, None)}


async def test_a_search_can_say_that_it_is_incomplete(github: Client) -> None:
    await fault(github, kind="incomplete_results", count=1)
    answers = [(await get(github, "/search/users?q=mira"))[1]["incomplete_results"] for _ in range(2)]
    assert answers == [True, False]


@pytest.mark.parametrize(
    "told",
    [
        [],
        {"kind": "nonsense"},
        {"kind": "status", "status": "503"},
        {"kind": "status", "count": 0},
        {"kind": "status", "match": "repos"},
        {"kind": "status", "match": "^("},
        {"kind": "status", "code": 503},
        {"kind": "secondary_limit", "variant": "x"},
    ],
)
async def test_a_fault_that_cannot_be_is_refused(github: Client, told: Any) -> None:
    response = await github.post("/_imitation/faults", json=told)
    assert response.status == 422
    assert (await response.json())["message"]
    assert await (await github.get("/_imitation/faults")).json() == []


# What comes while it runs


async def test_a_new_rust_repository_leads_its_page_every_minute_and_leaves_it_later(clock: Clock) -> None:
    app = make_app(clock=clock, newcomer_every=timedelta(minutes=1))
    async with TestClient(TestServer(app)) as github:

        async def trending(path: str) -> list[str]:
            page = await (await github.get(path)).text()
            return [f"{row.owner}/{row.name}" for row in parse_repositories(page).rows]

        before = await trending("/trending/rust?since=daily")
        seen = []
        for _ in range(40):
            clock.now += timedelta(minutes=1)
            seen.append((await trending("/trending/rust?since=daily"))[0])

        assert len(set(seen)) == 40
        assert not set(seen) & set(before)
        assert seen[-1] in await trending("/trending?since=daily")
        assert seen[-1] not in await trending("/trending/python?since=daily")
        assert seen[0] not in await trending("/trending/rust?since=daily")
        assert set(before) & set(await trending("/trending/rust?since=daily")), "the others still have their places"
        _, repository = await get(github, f"/repos/{seen[-1]}")
        assert repository["language"] == "Rust"


async def test_newcomers_are_the_same_for_the_same_time_whenever_it_was_started(clock: Clock) -> None:
    first = []
    for start in (START, START - timedelta(minutes=7)):
        clock.now = start
        app = make_app(clock=clock, newcomer_every=timedelta(minutes=1))
        async with TestClient(TestServer(app)) as github:
            clock.now = START + timedelta(minutes=3)
            page = await (await github.get("/trending/rust?since=daily")).text()
            first.append(parse_repositories(page).rows[0].name)
    assert first[0] == first[1]


async def test_a_published_release_comes_first_and_ends_the_etag(github: Client, clock: Clock) -> None:
    path = f"{LANTERN}/releases"
    before, known = await get(github, path)
    published = {"repository": "Mira-Tallow/Lantern", "tag": "v9.0.0", "name": "Nine", "prerelease": True}
    response = await github.post("/_imitation/releases", json=published)
    assert response.status == 201
    after, [newest, *rest] = await get(github, path, **{"If-None-Match": before.headers["ETag"]})

    assert after.status == 200
    assert rest == known[: len(rest)]
    assert newest["id"] == (await response.json())["id"]
    shown = [newest[name] for name in ("tag_name", "name", "prerelease", "draft", "published_at")]
    assert shown == ["v9.0.0", "Nine", True, False, "2026-11-23T12:00:00Z"]
    again, _ = await get(github, path, **{"If-None-Match": after.headers["ETag"]})
    assert again.status == 304


async def test_a_draft_is_shown_to_its_owner_only(github: Client) -> None:
    draft = {"repository": "mira-tallow/lantern", "tag": "v9.0.0", "draft": True}
    assert (await github.post("/_imitation/releases", json=draft)).status == 201
    _, [public, *_] = await get(github, f"{LANTERN}/releases")
    _, [own, *_] = await get(github, f"{LANTERN}/releases", **OWNER)

    assert public["draft"] is False
    assert (own["tag_name"], own["draft"], own["published_at"]) == ("v9.0.0", True, None)


@pytest.mark.parametrize(
    "told",
    [
        [],
        {"repository": "mira-tallow/lantern"},
        {"repository": "mira-tallow/nothing", "tag": "v1"},
        {"repository": "mira-tallow/lantern", "tag": 1},
        {"repository": "mira-tallow/lantern", "tag": "v1", "date": "today"},
    ],
)
async def test_a_release_that_cannot_be_is_refused(github: Client, told: Any) -> None:
    response = await github.post("/_imitation/releases", json=told)
    assert response.status == 422
    assert (await response.json())["message"]

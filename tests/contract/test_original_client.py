"""The original mini-program's contract, row by row, through the gateway of the whole system.

The rows are those of the client's contract table: what it sends, the fields it reads, what it cannot bear. Each is
asserted with and without the prefix `/gitter`.
"""

from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest

from local.imitation_github.credentials import REVOKED_TOKEN, SECOND_READER_TOKEN
from tests.whole_system import Reply, WholeSystem

PREFIXES = pytest.mark.parametrize("prefix", ["", "/gitter"])
PHONE = {"User-Agent": "MicroMessenger"}


def ask(wegit: WholeSystem, path: str, headers: dict[str, str] | None = None) -> Reply:
    """One call as the client makes it: a GET, nothing escaped but spaces and what is no ASCII."""
    reply = wegit.get(quote(path, safe="/?=&%#+"), {**PHONE, **(headers or {})})
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert reply.headers["Content-Type"].startswith(("application/json", "application/problem+json"))
    reply.json()  # every reply is JSON: the H5 build always decodes it
    return reply


def some(rows: Any) -> list[dict[str, Any]]:
    """A list that proves something."""
    assert isinstance(rows, list)
    assert rows
    return rows


def some_repository(wegit: WholeSystem) -> tuple[str, str]:
    row = some(ask(wegit, "/trending-repositories?since=daily").json())[0]
    return row["author"], row["name"]


@PREFIXES
def test_row_1_languages_are_a_list_of_names_that_come_back_unharmed(wegit: WholeSystem, prefix: str) -> None:
    names = ask(wegit, f"{prefix}/trending-languages").json()
    assert len(names) > 300
    assert all(isinstance(name, str) and not set(name) & set("#&%+") for name in names)
    assert not [name for name in names if name.lower().startswith("all")]
    # It is sent back in lower case and with its spaces; whatever it is, the list stays a list. Another period for each
    # prefix: what was asked for once is answered without asking GitHub.
    since = "weekly" if prefix else "daily"
    for name in ("JavaScript", "Jupyter Notebook", names[-1]):
        assert name in names
        reply = ask(wegit, f"{prefix}/trending-repositories?since={since}&language={name.lower()}")
        assert reply.status == 200, name
        assert isinstance(reply.json(), list)
    asked = {entry["path"] for entry in wegit.github_requests() if f"since={since}" in entry["query"]}
    assert {"/trending/javascript", "/trending/jupyter-notebook"} <= asked


@PREFIXES
@pytest.mark.parametrize("since", ["daily", "weekly", "monthly"])
def test_row_2_trending_repositories(wegit: WholeSystem, prefix: str, since: str) -> None:
    reply = ask(wegit, f"{prefix}/trending-repositories?since={since}")
    assert reply.status == 200
    for row in some(reply.json()):
        assert row["author"]
        assert row["name"]
        assert row["description"] is None or isinstance(row["description"], str)
        assert row["language"] is None or isinstance(row["language"], str)
        for count in ("stars", "forks", "currentPeriodStars"):
            assert isinstance(row.get(count, 0), int), "a count is a number, never a text like 1,234"
    for count in ("stars", "forks", "currentPeriodStars"):
        assert [row for row in reply.json() if row.get(count)], count


@PREFIXES
def test_row_2_a_language_narrows_the_list(wegit: WholeSystem, prefix: str) -> None:
    rows = some(ask(wegit, f"{prefix}/trending-repositories?since=weekly&language=python").json())
    assert {row["language"] for row in rows} == {"Python"}


@pytest.mark.parametrize("path", ["/trending-repositories", "/trending-developers"])
@PREFIXES
def test_rows_2_and_3_stay_lists_on_a_bad_day(wegit: WholeSystem, prefix: str, path: str) -> None:
    for query, faults, statuses in (
        ("since=yearly", {}, {422}),
        ("language=no such language", {}, {422}),
        ("since=daily&language=c%23", {"kind": "status", "status": 500}, {502}),
        ("since=daily&language=zig", {"kind": "cut_body"}, {502}),
    ):
        if faults:
            wegit.fault(match="/trending", **faults)
        reply = ask(wegit, f"{prefix}{path}?{query}")
        wegit.heal()
        assert (reply.status in statuses, reply.body) == (True, b"[]"), (query, reply)


@PREFIXES
def test_row_3_trending_developers(wegit: WholeSystem, prefix: str) -> None:
    rows = some(ask(wegit, f"{prefix}/trending-developers?since=daily").json())
    for row in rows:
        assert row["username"]
        assert row["avatar"].startswith("http")
        assert isinstance(row["repo"]["name"], str)
        assert "description" in row["repo"]
    assert [row for row in rows if row["repo"]["name"]], "somebody has a popular repository"
    assert {"name": "", "description": None} in [row["repo"] for row in rows], "and somebody has none"


@PREFIXES
def test_row_4_a_repository_with_its_readme(wegit: WholeSystem, prefix: str) -> None:
    owner, name = some_repository(wegit)
    reply = ask(wegit, f"{prefix}/repositories?owner={owner}&name={name}")
    found = reply.json()
    assert reply.status == 200
    assert (found["owner"]["login"], found["name"]) == (owner, name)
    for count in ("stargazers_count", "forks", "open_issues", "subscribers_count"):
        assert isinstance(found[count], int)
    assert found["description"] is None or isinstance(found["description"], str)
    assert found["readme"] is None or isinstance(found["readme"], str)


@PREFIXES
def test_row_5_a_developer(wegit: WholeSystem, prefix: str) -> None:
    owner = some(ask(wegit, "/trending-developers").json())[0]["username"]
    reply = ask(wegit, f"{prefix}/developers?name={owner}")
    found = reply.json()
    assert (reply.status, found["login"]) == (200, owner)
    assert found["avatar_url"]
    for count in ("public_repos", "followers", "following"):
        assert isinstance(found[count], int)
    for text in ("name", "bio", "email", "blog", "company", "location"):
        assert found[text] is None or isinstance(found[text], str)


@PREFIXES
def test_row_5_an_unknown_developer_is_a_json_problem(wegit: WholeSystem, prefix: str) -> None:
    reply = ask(wegit, f"{prefix}/developers?name=nobody-of-this-name-1")
    assert (reply.status, reply.json()["code"]) == (404, "not_found")


@PREFIXES
def test_row_6_a_token_logs_in(wegit: WholeSystem, prefix: str) -> None:
    reply = ask(wegit, f"{prefix}/developers?token={SECOND_READER_TOKEN}")
    assert reply.status == 200
    assert reply.json()["login"]
    assert reply.headers["Cache-Control"] == "private, no-store"


@PREFIXES
def test_row_6_any_other_token_does_not(wegit: WholeSystem, prefix: str) -> None:
    for token in (REVOKED_TOKEN, "0" * 40, "x", ""):
        assert ask(wegit, f"{prefix}/developers?token={token}").status == 401


@PREFIXES
def test_row_7_received_events_in_pages(wegit: WholeSystem, prefix: str) -> None:
    login = ask(wegit, f"/developers?token={SECOND_READER_TOKEN}").json()["login"]
    authorization = {"Authorization": SECOND_READER_TOKEN}
    seen: set[str] = set()
    page, most = 1, 1
    while page <= most:
        query = f"?page={page}" if page > 1 else ""
        reply = ask(wegit, f"{prefix}/developers/{login}/events{query}", authorization)
        assert reply.status == 200
        most = int(reply.headers["Max-Page"])
        assert most >= page
        for event in some(reply.json()):
            datetime.fromisoformat(event["created_at"])
            assert event["type"].endswith("Event")
            assert event["actor"]["login"]
            assert event["actor"]["display_login"]
            assert event["actor"]["avatar_url"].startswith("http")
            assert event["repo"]["name"].count("/") == 1
            seen.add(event["id"])
        page += 1
    assert page > 2, "there is a second page"
    assert len(seen) > 30
    assert "max-page" in reply.headers["Access-Control-Expose-Headers"].lower()


@PREFIXES
def test_row_7_the_preflight_names_authorization(wegit: WholeSystem, prefix: str) -> None:
    headers = {"Origin": "http://127.0.0.1:10086", "Access-Control-Request-Method": "GET"}
    headers["Access-Control-Request-Headers"] = "authorization"
    reply = wegit.get(f"{prefix}/developers/someone/events", headers, method="OPTIONS")
    assert reply.status in {200, 204}
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert "authorization" in reply.headers["Access-Control-Allow-Headers"].lower()


@PREFIXES
def test_row_8_search_in_pages(wegit: WholeSystem, prefix: str) -> None:
    reply = ask(wegit, f"{prefix}/search/repositories?name=a")
    assert reply.status == 200
    assert int(reply.headers["Max-Page"]) >= 2
    for found in some(reply.json()):
        datetime.fromisoformat(found["updated_at"])
        assert isinstance(found["id"], int)
        assert found["owner"]["login"]
        assert found["name"]
        assert isinstance(found["stargazers_count"], int)
        assert {"description", "language"} <= found.keys()
    second = some(ask(wegit, f"{prefix}/search/repositories?name=a&page=2").json())
    assert not {found["id"] for found in second} & {found["id"] for found in reply.json()}
    assert "max-page" in reply.headers["Access-Control-Expose-Headers"].lower()


@PREFIXES
@pytest.mark.parametrize(
    ("typed", "status", "asked"),
    [
        pytest.param("c++", 200, "c++", id="a plus is a plus"),
        pytest.param("vue admin", 200, "vue admin", id="a space"),
        pytest.param("小程序", 200, "小程序", id="Chinese"),
        pytest.param("a&b", 200, "a", id="an unescaped & ends it"),
        pytest.param("100%", 400, None, id="a lone percent sign is no 5xx"),
    ],
)
def test_row_8_what_people_type(wegit: WholeSystem, prefix: str, typed: str, status: int, asked: str | None) -> None:
    own = "with" if prefix else "without"  # a word that no other search has: no copy answers it
    reply = ask(wegit, f"{prefix}/search/repositories?name={own} {typed}")
    assert reply.status == status
    assert isinstance(reply.json(), list)
    queries = [entry["query"] for entry in wegit.github_requests()]
    assert len(queries) == (0 if asked is None else 1)
    if asked is not None:
        assert f"q={quote(f'{own} {asked}').replace('%20', '+')}&" in f"{queries[0]}&"


@PREFIXES
def test_health_check_says_ok(wegit: WholeSystem, prefix: str) -> None:
    reply = ask(wegit, f"{prefix}/health-check")
    assert (reply.status, reply.json()) == (200, "ok")

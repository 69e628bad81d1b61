"""`/v1` through the gateway of the whole system: what a new mini-program does in a session."""

import re
from functools import partial
from urllib.parse import urljoin

import pytest

from local.imitation_github.credentials import OWNER_TOKEN, SECOND_READER_TOKEN
from tests.whole_system import WholeSystem, eventually

CALLER = {"Authorization": f"Bearer {SECOND_READER_TOKEN}"}


def test_from_trending_to_the_readme_of_the_first(wegit: WholeSystem) -> None:
    rows = wegit.get("/v1/trending/repositories?since=weekly").json()["data"]
    assert [row["rank"] for row in rows] == sorted(row["rank"] for row in rows)
    path = f"/v1/repositories/{rows[0]['owner']}/{rows[0]['name']}"
    answer = wegit.get(path).json()
    assert answer["data"]["full_name"] == f"{rows[0]['owner']}/{rows[0]['name']}"
    assert answer["data"]["stargazers_count"] >= 0
    assert answer["meta"]["stale"] is False


def test_trending_developers_and_languages(wegit: WholeSystem) -> None:
    developers = wegit.get("/v1/trending/developers").json()["data"]
    assert all(row["login"] and row["avatar_url"] for row in developers)
    assert developers
    languages = wegit.get("/v1/trending/languages").json()["data"]
    [c_sharp] = [language for language in languages if language["name"] == "C#"]
    assert c_sharp["slug"] == "c%23"
    assert re.fullmatch("#[0-9a-f]{6}", c_sharp["color"])
    for slug in ("c%2523", "c%23", "C%23"):  # passed back verbatim, decoded by the query, in another case
        assert wegit.get(f"/v1/trending/repositories?since=monthly&language={slug}").status == 200
    assert {entry["path"] for entry in wegit.github_requests()} >= {"/trending/c%23"}


def test_search_can_be_followed_by_its_links(wegit: WholeSystem) -> None:
    address = "/v1/search/repositories?q=a&sort=stars"
    reply = wegit.get(address)
    first = reply.json()
    links = dict(reversed(part.split("; rel=")) for part in reply.headers["Link"].split(", "))  # type: ignore[misc]
    following = urljoin(address, links['"next"'].strip("<>"))
    second = wegit.get(following).json()
    assert (first["meta"]["page"], second["meta"]["page"]) == (1, 2)
    assert first["meta"]["next_page"] == 2
    assert {item["id"] for item in first["data"]}.isdisjoint(item["id"] for item in second["data"])
    assert first["data"]
    stars = [item["stargazers_count"] for item in first["data"] + second["data"]]
    assert stars == sorted(stars, reverse=True)


def test_search_for_developers(wegit: WholeSystem) -> None:
    found = wegit.get("/v1/search/developers?q=a").json()
    assert found["meta"]["total_count"] >= len(found["data"]) > 0
    assert all(item["login"] for item in found["data"])


def test_a_caller_sees_who_they_are_and_what_happens(wegit: WholeSystem) -> None:
    me = wegit.get("/v1/me", CALLER)
    assert me.headers["Cache-Control"] == "private, no-store"
    login = me.json()["data"]["login"]
    received = wegit.get(f"/v1/developers/{login}/received-events", CALLER).json()
    assert received["data"]
    own = wegit.get(f"/v1/developers/{login}/events")
    assert own.headers["Cache-Control"].startswith("public")
    assert {event["actor"]["login"] for event in own.json()["data"]} == {login}


def test_only_the_owners_token_shows_what_is_private(wegit: WholeSystem) -> None:
    owner = {"Authorization": f"Bearer {OWNER_TOKEN}"}
    found = wegit.get("/v1/search/repositories?q=private", owner).json()["data"]
    private = [item for item in found if item["private"]]
    assert private, "the imitation has a private repository that is found by that word"
    path = f"/v1/repositories/{private[0]['full_name']}"
    assert wegit.get(path, owner).status == 200
    assert wegit.get(path, CALLER).status == 404
    # The operator's own credentials are good for it as well, and must not show it.
    for _ in range(4):
        assert wegit.get(path).status == 404
        assert wegit.get(f"{path}/readme").status == 404
        anonymous = wegit.get("/v1/search/repositories?q=private").json()["data"]
        assert not [item for item in anonymous if item["private"]]


def test_an_answer_need_not_be_sent_twice(wegit: WholeSystem) -> None:
    first = wegit.get("/v1/trending/languages")
    again = wegit.get("/v1/trending/languages", {"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("path", "status", "parameter"),
    [
        ("/v1/repositories/-x/sample", 400, "owner"),
        ("/v1/repositories/a/%00", 400, None),
        ("/v1/repositories/a/%0d%0ab", 400, None),
        ("/v1/repositories/../etc/passwd", 400, None),
        ("/v1/repositories/a/%2e%2e", 400, None),
        ("/v1/repositories/a/%zz", 400, None),
        ("/v1/trending/repositories?since=yearly", 422, "since"),
        ("/v1/trending/repositories?language=rustt", 422, "language"),
        ("/v1/search/repositories?q=" + "x" * 5000, 422, "q"),
        ("/v1/search/repositories?q=%", 400, "q"),
        ("/v1/search/repositories?q=a%00b", 400, "q"),
        ("/v1/search/repositories?q=x&page=0", 400, "page"),
        ("/v1/search/repositories?q=x&page=35", 422, "page"),
        ("/v1/search/repositories?q=" + "x" * 9000, 400, None),
        ("/v1/me", 401, None),
        ("/v1/nothing", 404, None),
        ("/metrics/../v1/me", 400, None),
        ("/internal/alerts", 404, None),
    ],
)
def test_wrong_input_gets_a_clear_problem_and_costs_nothing(
    wegit: WholeSystem, path: str, status: int, parameter: str | None
) -> None:
    reply = wegit.get(path)
    assert reply.status == status
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    problem = reply.json()
    assert (problem["status"], problem.get("parameter")) == (status, parameter)
    assert b"Traceback" not in reply.body
    assert wegit.github_requests() == []


def test_a_wrong_method_names_the_right_ones(wegit: WholeSystem) -> None:
    reply = wegit.get("/v1/trending/repositories", method="DELETE")
    assert (reply.status, reply.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in reply.headers["Allow"]


def test_one_request_id_goes_all_the_way(wegit: WholeSystem) -> None:
    request_id = "end-to-end-0001"
    reply = wegit.get("/v1/developers/nobody-asked-for-before", {"X-Request-Id": request_id})
    assert reply.json()["request_id"] == reply.headers["X-Request-Id"] == request_id
    for service, event in (("gateway", "request.answered"), ("developer-service", "upstream.answered")):
        assert eventually(partial(_is_logged, wegit, request_id, f'"service":"{service}"', event)), service


def _is_logged(wegit: WholeSystem, *parts: str) -> bool:
    return any(all(part in line for part in parts) for line in wegit.log.splitlines())

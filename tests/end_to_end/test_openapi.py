"""The API's description tells the truth: real answers of the whole system are what it says, and nothing beyond it."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import schemathesis
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.documentation import read_description
from local.imitation_github.credentials import READER_TOKEN, REVOKED_TOKEN, SECOND_READER_TOKEN
from tests.whole_system import OPERATOR_KEY, WholeSystem

ROOT = Path(__file__).parents[2]
CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NOTHING: Mapping[str, str] = MappingProxyType({})
LANTERN = {"owner": "mira-tallow", "name": "lantern"}
MIRA = {"login": "mira-tallow"}
NOBODY = {"login": "nobody-whom-github-knows"}
BEARER = {"Authorization": f"Bearer {SECOND_READER_TOKEN}"}
OPERATOR = {"Authorization": f"Bearer {OPERATOR_KEY}"}
WISH = {"topic": "alert", "endpoint": {"channel": "webhook", "address": "https://hooks.invalid/wegit"}}
REVOKED = {"Authorization": f"Bearer {REVOKED_TOKEN}"}


class Asked(NamedTuple):
    """One request to a described path, and the status that must come."""

    path: str
    status: int = 200
    names: Mapping[str, Any] = NOTHING
    query: Mapping[str, Any] = NOTHING
    headers: Mapping[str, str] = NOTHING
    method: str = "GET"
    body: Any = None


ASKED = (
    Asked("/v1/trending/repositories", query={"since": "weekly", "language": "rust"}),
    Asked("/v1/trending/repositories", 422, query={"language": "rustt"}),
    Asked("/v1/trending/repositories", 404, query={"on": "2020-01-01"}),
    Asked("/v1/trending/repositories", 400, query={"on": "yesterday"}),
    Asked("/v1/trending/repositories/{owner}/{name}/history", 404, names={"owner": "never", "name": "trending"}),
    Asked("/v1/trending/developers", query={"new_only": "true"}),
    Asked("/v1/trending/languages"),
    Asked("/v1/repositories/{owner}/{name}", names=LANTERN),
    Asked("/v1/repositories/{owner}/{name}", names=LANTERN, query={"include": "readme"}),
    Asked("/v1/repositories/{owner}/{name}", names=LANTERN, headers=BEARER),
    Asked("/v1/repositories/{owner}/{name}", 404, names={**LANTERN, "name": "darkness"}),
    Asked("/v1/repositories/{owner}/{name}", 401, names=LANTERN, headers=REVOKED),
    Asked("/v1/repositories/{owner}/{name}/readme", names=LANTERN),
    Asked("/v1/repositories/{owner}/{name}/readme", names=LANTERN, query={"format": "html"}),
    Asked("/v1/developers/{login}", names=MIRA),
    Asked("/v1/developers/{login}", 404, names=NOBODY),
    Asked("/v1/developers/{login}/events", names=MIRA),
    Asked("/v1/developers/{login}/events", 422, names=MIRA, query={"page": 11}),
    Asked("/v1/developers/{login}/received-events", names=MIRA),
    Asked("/v1/me", headers=BEARER),
    Asked("/v1/me", 401),
    Asked("/v1/search/repositories", query={"q": "a", "sort": "stars", "page": 2}),
    Asked("/v1/search/repositories", 400),
    Asked("/v1/search/developers", query={"q": "mira"}),
    Asked("/v1/subscriptions", 401),
    Asked("/v1/subscriptions", 400, query={"page": 0}, headers=OPERATOR),
    Asked("/v1/subscriptions", 400, headers=OPERATOR, method="POST", body={"topic": "alert"}),
    Asked("/v1/subscriptions", 422, headers=OPERATOR, method="POST", body=WISH | {"topic": "gossip"}),
    Asked("/v1/subscriptions/{id}", 404, names={"id": 0}, headers=OPERATOR, method="DELETE"),
    Asked("/v1/notifications", headers=OPERATOR),
    Asked("/v1/notifications", 422, query={"state": "lost"}, headers=OPERATOR),
    Asked("/v1/notifications/{id}", 404, names={"id": 0}, headers=OPERATOR),
    Asked("/v1/notifications/{id}/retry", 404, names={"id": 0}, headers=OPERATOR, method="POST"),
    Asked("/v1/wechat/push", 404),
    Asked("/v1/wechat/push", 404, method="POST", body={}),
    Asked("/trending-languages"),
    Asked("/trending-repositories", query={"since": "daily"}),
    Asked("/trending-repositories", 422, query={"since": "yearly"}),
    Asked("/trending-developers"),
    Asked("/repositories", query=LANTERN),
    Asked("/repositories", 400),
    Asked("/developers", query={"name": "mira-tallow"}),
    Asked("/developers", query={"token": SECOND_READER_TOKEN}),
    Asked("/developers", 401, query={"token": REVOKED_TOKEN}),
    Asked("/developers/{login}/events", names=MIRA),
    Asked("/developers/{login}/events", names=MIRA, headers={"Authorization": SECOND_READER_TOKEN}),
    Asked("/developers/{login}/events", 404, names=NOBODY),
    Asked("/search/repositories", query={"name": "lantern"}),
    Asked("/search/repositories", 400),
    Asked("/health-check"),
    Asked("/openapi.json"),
    Asked("/docs"),
)


def _prefixes(path: str) -> list[str]:
    description: dict[str, Any] = read_description()
    return [server["url"].rstrip("/") for server in description["paths"][path].get("servers", description["servers"])]


@pytest.fixture(scope="module")
def described(whole_system: WholeSystem) -> BaseSchema:
    """What the running gateway says of itself, taken at its word: a member that it does not name may not be there."""
    description = json.loads(whole_system.get("/openapi.json").body)
    assert description == read_description()
    description = copy.deepcopy(description)
    for schema in _objects(description):
        schema["additionalProperties"] = False
    return schemathesis.openapi.from_dict(description)


@pytest.mark.parametrize(
    ("prefix", "asked"),
    [(prefix, asked) for asked in ASKED for prefix in _prefixes(asked.path)],
    ids=lambda value: f"{value.method} {value.path} {value.status}" if isinstance(value, Asked) else value,
)
def test_an_answer_is_as_described(wegit: WholeSystem, described: BaseSchema, prefix: str, asked: Asked) -> None:
    _check(wegit, described, asked, prefix)


def test_every_operation_is_asked_for(described: BaseSchema) -> None:
    asked = {(one.path, one.method) for one in ASKED}
    # What trends, and what a subscription's number is, is known only then; the tests below look it up.
    looked_up = {
        ("/v1/trending/repositories/{owner}/{name}/history", "GET"),
        *((p, m) for m, p, _ in A_SUBSCRIPTIONS_LIFE),
    }
    operations = {
        (path, method.upper())
        for path, told in described.raw_schema["paths"].items()
        for method in told
        if method not in {"servers", "parameters"}
    }
    assert operations == asked | looked_up


A_SUBSCRIPTIONS_LIFE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("GET", "/v1/subscriptions", {}),
    ("GET", "/v1/subscriptions/{id}", {}),
    ("PATCH", "/v1/subscriptions/{id}", {"body": {"paused": True}}),
    ("POST", "/v1/subscriptions/{id}/confirm", {}),
    ("POST", "/v1/subscriptions/{id}/rotate-secret", {}),
    ("DELETE", "/v1/subscriptions/{id}", {"status": 204}),
)


def test_what_an_operator_does_with_a_subscription_is_as_described(wegit: WholeSystem, described: BaseSchema) -> None:
    subscribe = Asked("/v1/subscriptions", 201, headers=OPERATOR, method="POST", body=WISH)
    made = _check(wegit, described, subscribe)
    _check(wegit, described, subscribe._replace(status=200))
    for method, path, more in A_SUBSCRIPTIONS_LIFE:
        names = {"id": made["data"]["id"]} if "{id}" in path else {}
        _check(wegit, described, Asked(path, names=names, headers=OPERATOR, method=method)._replace(**more))


def test_the_history_of_what_trends_is_as_described(wegit: WholeSystem, described: BaseSchema) -> None:
    [row, *_] = wegit.get("/v1/trending/repositories").json()["data"]
    names = {"owner": row["owner"], "name": row["name"]}
    _check(wegit, described, Asked("/v1/trending/repositories/{owner}/{name}/history", names=names))


@pytest.mark.parametrize("path", ["/v1/trending/languages", "/trending-languages", "/openapi.json", "/docs"])
def test_what_has_not_changed_is_as_described(wegit: WholeSystem, described: BaseSchema, path: str) -> None:
    tag = wegit.get(path).headers["ETag"]
    _check(wegit, described, Asked(path, 304, headers={"If-None-Match": tag}))


@pytest.mark.parametrize(
    ("fault", "status"), [({"kind": "status", "status": 502}, 502), ({"kind": "primary_limit"}, 503)]
)
def test_a_bad_day_of_github_is_as_described(
    wegit: WholeSystem, described: BaseSchema, fault: dict[str, Any], status: int
) -> None:
    wegit.fault(**fault)
    names = {"owner": "mira-tallow", "name": f"asked-for-on-a-bad-day-{status}"}
    _check(wegit, described, Asked("/v1/repositories/{owner}/{name}", status, names=names))
    _check(wegit, described, Asked("/search/repositories", status, query={"name": f"bad day {status}"}))


def test_what_is_not_described_is_found_out(wegit: WholeSystem, described: BaseSchema) -> None:
    # The checks above would be worth nothing if they let everything pass.
    description = copy.deepcopy(described.raw_schema)
    del description["paths"]["/v1/me"]["get"]["responses"]["401"]
    with pytest.raises(FailureGroup, match="Undocumented"):
        _check(wegit, schemathesis.openapi.from_dict(description), Asked("/v1/me", 401))


def test_nothing_that_can_be_made_up_gets_an_answer_that_is_not_described(database_url: str, tmp_path: Path) -> None:
    system = WholeSystem(database_url, tmp_path, {"GITHUB_TOKENS": READER_TOKEN})  # it ends subscriptions, too
    command = [str(Path(sys.executable).parent / "schemathesis"), "--config-file", "tests/schemathesis.toml", "run"]
    limits = ["--max-examples=5", "--max-time=25", "--generation-deterministic", "--no-color"]
    command += [f"{system.url}/openapi.json", *limits]
    told = {**os.environ, "GITHUB_TOKEN": SECOND_READER_TOKEN, "OPERATOR_KEY": OPERATOR_KEY}
    try:
        done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-10_000:]
    finally:
        system.stop()


def _check(wegit: WholeSystem, described: BaseSchema, asked: Asked, prefix: str = "") -> Any:
    operation = described[asked.path][asked.method]
    sent = {} if asked.body is None else {"body": asked.body, "media_type": "application/json"}
    case = operation.Case(
        path_parameters=dict(asked.names), query=dict(asked.query), headers=dict(asked.headers), **sent
    )
    answer = case.call(base_url=f"{wegit.url}{prefix}")
    assert answer.status_code == asked.status, answer.text
    case.validate_response(answer, checks=CONFORMANCE)
    return answer.json() if answer.content and asked.path != "/docs" else None


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        for inner in node.values():
            yield from _objects(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _objects(inner)

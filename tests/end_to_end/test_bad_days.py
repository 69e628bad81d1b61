"""The whole system while GitHub or a part of itself fails: clear answers, readiness that tells, alerts that arrive."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from local.imitation_github.credentials import SECOND_READER_TOKEN
from tests.whole_system import WholeSystem, eventually


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("status", 502, "upstream_fault"),
        ("cut_body", 502, "upstream_fault"),
        ("html_body", 502, "upstream_fault"),
        ("reset", 502, "upstream_unreachable"),
    ],
)
def test_a_failing_github_is_a_problem_and_shows_in_readiness(
    wegit: WholeSystem, kind: str, status: int, code: str
) -> None:
    wegit.fault(match="/users/", kind=kind)
    reply = wegit.get("/v1/developers/mira-tallow")
    assert (reply.status, reply.json()["code"]) == (status, code)
    ready = wegit.ask(f"{wegit.services()['developer-service']}/health/ready")
    # Trending pages that an earlier test had fail may still be among what is degraded.
    assert ready.status == 200
    assert [name for name in ready.json()["degraded"] if name != "trending"] == ["github"]


def test_a_page_that_changed_is_never_an_empty_list_with_200(wegit: WholeSystem) -> None:
    before = wegit.get("/v1/trending/repositories?since=daily").json()["data"]
    assert before
    wegit.fault(match="/trending", kind="empty_trending")
    assert wegit.get("/trending-repositories?since=monthly&language=kotlin").status == 502
    never_seen = wegit.get("/v1/trending/repositories?since=monthly&language=kotlin").json()
    assert never_seen["code"] == "upstream_fault"
    assert never_seen["retry_after"] > 0
    assert wegit.get("/v1/trending/repositories?since=daily").json()["data"] == before
    repo_service = wegit.services()["repo-service"]
    ready = wegit.ask(f"{repo_service}/health/ready").json()
    assert "trending" in ready["degraded"]
    assert ready["details"]["trending"]["pages_failing"] >= 1
    assert ready["details"]["trending"]["failing_reason"]
    metrics = wegit.ask(f"{repo_service}/metrics").body.decode()
    assert re.search(r'^trending_pages{state="failing"} [1-9]', metrics, re.MULTILINE)
    wegit.heal()
    wegit.fault(match="/trending", kind="renamed_classes")
    rows = wegit.get("/v1/trending/repositories?since=monthly&language=go").json()["data"]
    assert rows
    assert all(isinstance(row["stars"], int) for row in rows)


def test_an_alert_reaches_slack_once_with_its_count_and_without_its_secret(wegit: WholeSystem) -> None:
    notifier = wegit.services()["notifier-service"]
    alert = {
        "service": "gateway",
        "error": "RuntimeError",
        "where": "passing.py:1 in pass_on",
        "message": f"no luck with /developers?token={SECOND_READER_TOKEN}",
        "traceback": f"Authorization: Bearer {SECOND_READER_TOKEN}",
        "minute": "2026-11-23T10:07Z",
        "occurrences": 3,
    }
    before = len(wegit.slack.bodies)
    for _ in range(2):
        assert wegit.post(f"{notifier}/internal/alerts", alert) < 300
    assert eventually(lambda: len(wegit.slack.bodies) > before)
    assert b"RuntimeError" in wegit.slack.bodies[before]
    assert wegit.rows("message").count('"occurrences":6') == 1
    assert eventually(lambda: '"outcome":"delivered"' in wegit.rows("delivery_record"))
    assert len(wegit.slack.bodies) == before + 1
    assert wegit.get("/internal/alerts").status == 404, "that door is not open to the public"


def test_a_killed_service_is_502_for_its_paths_alone_and_comes_back(wegit: WholeSystem) -> None:
    before = wegit.services()["search-service"]
    port = int(before.rsplit(":", 1)[1])
    pid = next(pid for pid in pids() if listens_on(pid, port))
    os.kill(pid, signal.SIGKILL)
    statuses = set()

    def is_back() -> bool:
        statuses.add(wegit.get("/v1/search/developers?q=a").status)
        assert wegit.get("/v1/trending/languages").status == 200
        return 200 in statuses and len(statuses) > 1

    assert eventually(is_back), statuses
    assert statuses == {200, 502}


def pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def listens_on(pid: int, port: int) -> bool:
    try:
        return f"PORT={port}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def test_every_line_of_every_service_is_json(wegit: WholeSystem) -> None:
    wegit.get("/v1/trending/languages")
    lines = re.findall(
        r"^(?:gateway|repo-service|developer-service|search-service|notifier-service) +\| (.*)$",
        wegit.log,
        re.MULTILINE,
    )
    assert len(lines) > 10
    for line in lines:
        assert json.loads(line)["event"]

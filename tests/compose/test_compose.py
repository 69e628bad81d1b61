"""WeGit in containers, for real: `docker compose up` with the imitation GitHub, calls, scaling, and the stop.

The tests share one running project and follow each other as they stand here: the last one stops it.
"""

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.imitation_github.credentials import READER_TOKEN, SECOND_READER_TOKEN
from tests.compose.project import ComposeProject

DATA_SERVICES = ("repo-service", "developer-service", "search-service")
SERVICES = ("gateway", *DATA_SERVICES, "notifier-service")
LONG_RUNNING = (*SERVICES, "postgres", "imitation-github")
UNKNOWN_TOKEN = "c0mp0seC0mp0seC0mp0seC0mp0seC0mp0seC0mp0"
STOP_SECONDS = 30

pytestmark = pytest.mark.usefixtures("engine")


@pytest.mark.parametrize("secret", ["SECRET_KEY", "POSTGRES_PASSWORD"])
def test_nothing_starts_without_a_secret(secret: str, tmp_path: Path) -> None:
    settings = {"SECRET_KEY": "k" * 32, "POSTGRES_PASSWORD": "p"}
    del settings[secret]
    project = ComposeProject("wegit-test-refused", tmp_path / "env", settings)
    started = project.run("up", "--detach", "--no-build", "--pull", "never", check=False)
    assert started.returncode != 0
    assert secret in started.stderr
    assert "make .env" in started.stderr


def test_everything_is_healthy(project: ComposeProject) -> None:
    for service in LONG_RUNNING:
        (container,) = project.containers(service)
        assert container["State"]["Health"]["Status"] == "healthy", service


def test_only_the_gateway_can_be_reached_and_only_from_this_machine(project: ComposeProject) -> None:
    published = {
        (container["Config"]["Labels"]["com.docker.compose.service"], port, binding["HostIp"])
        for container in project.containers()
        for port, bindings in container["NetworkSettings"]["Ports"].items()
        for binding in bindings or []
    }
    assert published == {("gateway", "8080/tcp", "127.0.0.1")}


@pytest.mark.parametrize("service", ["postgres", "migrate", "imitation-github"])
def test_what_needs_no_way_out_has_none(service: str, project: ComposeProject) -> None:
    (container,) = project.containers(service)
    networks = list(container["NetworkSettings"]["Networks"])
    assert networks == [f"{project.name}_inside"]
    inspect = ["docker", "network", "inspect", "--format", "{{.Internal}}", *networks]
    assert subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip() == "true"


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_a_container_may_do_little(service: str, project: ComposeProject) -> None:
    status = project.run("exec", "-T", service, "cat", "/proc/1/status").stdout
    user = re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)
    assert user
    assert user[1] != "0", "runs as root"
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE), "has capabilities"
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE), "may gain privileges"
    written = project.run("exec", "-T", service, "touch", "/written", check=False)
    assert "Read-only file system" in written.stderr
    (container,) = project.containers(service)
    assert container["HostConfig"]["Memory"] > 0
    assert container["HostConfig"]["PidsLimit"] > 0


@pytest.mark.parametrize(
    ("secret", "holders"),
    [
        ("SECRET_KEY", {*DATA_SERVICES, "notifier-service"}),
        ("POSTGRES_PASSWORD", {*DATA_SERVICES, "notifier-service", "migrate", "postgres"}),
    ],
)
def test_a_secret_is_known_only_to_those_who_need_it(secret: str, holders: set[str], project: ComposeProject) -> None:
    value = project.settings[secret]
    knowing = {
        container["Config"]["Labels"]["com.docker.compose.service"]
        for container in project.containers()
        if any(value in variable for variable in container["Config"]["Env"])
    }
    assert knowing == holders


def test_the_operators_token_is_one_that_the_imitation_knows(project: ComposeProject) -> None:
    for service in DATA_SERVICES:
        (container,) = project.containers(service)
        assert f"GITHUB_TOKENS={READER_TOKEN}" in container["Config"]["Env"]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_holds_only_what_its_service_needs(service: str, project: ComposeProject) -> None:
    module = service.replace("-", "_")
    needed = {module, "service_kit"} | ({"github_client"} if service in DATA_SERVICES else set())
    assert set(project.run("exec", "-T", service, "ls", "/app").stdout.split()) == needed


def test_operators_find_the_command_line_in_the_image(project: ComposeProject) -> None:
    stats = json.loads(project.run("exec", "-T", "notifier-service", "notifier", "stats", "--json").stdout)
    assert stats["workers"] == 1


def rows_with(*fields: str) -> Callable[[Any], bool]:
    """A test of a list that has rows, each with these fields."""
    return lambda rows: bool(rows) and all(set(fields) <= set(row) for row in rows)


def an_object_with(*fields: str) -> Callable[[Any], bool]:
    """A test of an object that has these fields."""
    return lambda found: isinstance(found, dict) and set(fields) <= set(found)


REPOSITORY_FIELDS = ("author", "name", "description", "language", "stars", "forks", "currentPeriodStars")
DEVELOPER_FIELDS = ("login", "avatar_url", "public_repos", "followers", "following")
FOUND_FIELDS = ("id", "owner", "name", "description", "language", "stargazers_count", "updated_at")
EVENT_FIELDS = ("id", "type", "created_at", "actor", "repo")


@pytest.fixture(scope="module")
def trending(project: ComposeProject) -> dict[str, Any]:
    """The first trending repository: something that surely exists, whatever data the imitation has made up."""
    row: dict[str, Any] = project.get("/gitter/trending-repositories?since=daily").body[0]
    return row


@pytest.mark.parametrize(
    ("target", "has_shape"),
    [
        ("/health-check", lambda body: body == "ok"),
        ("/trending-languages", lambda body: "Python" in body),
        ("/trending-repositories?since=weekly", rows_with(*REPOSITORY_FIELDS)),
        ("/trending-developers?since=monthly", rows_with("username", "avatar", "repo")),
        ("/repositories?owner={author}&name={name}", an_object_with("name", "owner", "open_issues", "readme")),
        ("/developers?name={author}", an_object_with(*DEVELOPER_FIELDS)),
        ("/developers/{author}/events", rows_with(*EVENT_FIELDS)),
        ("/search/repositories?name={name}", rows_with(*FOUND_FIELDS)),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/gitter"])
def test_the_original_paths_are_served(
    prefix: str, target: str, has_shape: Callable[[Any], bool], project: ComposeProject, trending: dict[str, Any]
) -> None:
    answer = project.get(prefix + target.format(**trending))
    assert answer.status == 200, answer
    assert has_shape(answer.body), answer


@pytest.mark.parametrize(
    ("target", "has_shape"),
    [
        ("/v1/trending/repositories", rows_with("owner", "name", "stars")),
        ("/v1/repositories/{author}/{name}", an_object_with("full_name", "owner")),
        ("/v1/repositories/{author}/{name}/readme", an_object_with("format", "content")),
        ("/v1/developers/{author}", an_object_with(*DEVELOPER_FIELDS)),
        ("/v1/search/repositories?q={name}", rows_with("full_name")),
    ],
)
def test_the_new_paths_are_served(
    target: str, has_shape: Callable[[Any], bool], project: ComposeProject, trending: dict[str, Any]
) -> None:
    answer = project.get(target.format(**trending))
    assert answer.status == 200, answer
    assert has_shape(answer.body["data"]), answer


def test_a_caller_logs_in_and_reads_their_own_events(project: ComposeProject) -> None:
    answer = project.get(f"/gitter/developers?token={SECOND_READER_TOKEN}")
    assert answer.status == 200
    login = answer.body["login"]
    assert project.get("/v1/me", {"Authorization": f"Bearer {SECOND_READER_TOKEN}"}).body["data"]["login"] == login
    events = project.get(f"/gitter/developers/{login}/events?page=1", {"Authorization": SECOND_READER_TOKEN})
    assert events.status == 200
    assert rows_with(*EVENT_FIELDS)(events.body)


def test_a_wrong_token_cannot_log_in(project: ComposeProject) -> None:
    assert project.get(f"/gitter/developers?token={UNKNOWN_TOKEN}").status == 401
    assert project.get("/v1/me", {"Authorization": f"Bearer {UNKNOWN_TOKEN}"}).status == 401


def test_the_gateway_outlives_a_service_that_is_away(project: ComposeProject) -> None:
    project.run("stop", "search-service")
    try:
        answer = project.get("/gitter/search/repositories?name=x")
        assert (answer.status, answer.body) in [(status, []) for status in (502, 503, 504)]
        assert project.get("/gitter/trending-languages").status == 200
    finally:
        project.run("start", "search-service")
    assert_in_time(lambda: project.get("/gitter/search/repositories?name=x").status == 200)


REQUESTS = 60


def test_requests_are_spread_evenly_before_and_after_a_service_is_scaled(project: ComposeProject) -> None:
    """Connections that are kept would pin them to the replicas known when the gateway started."""
    spreads = {"one replica": spread_over_replicas(project)}
    scale(project, 3)
    spreads["scaled to three"] = spread_over_replicas(project)
    scale(project, 2)
    spreads["scaled to two"] = spread_over_replicas(project)
    for when, spread in spreads.items():
        print(f"{when}: of {REQUESTS} requests {', '.join(map(str, spread))}")
    assert [len(spread) for spread in spreads.values()] == [1, 3, 2]
    for spread in spreads.values():
        assert sum(spread) == REQUESTS
        assert max(spread) - min(spread) <= REQUESTS / len(spread) / 5


def scale(project: ComposeProject, replicas: int) -> None:
    """Run so many replicas of repo-service, and wait until the gateway has heard of it."""
    project.run("up", "--detach", "--wait", "--no-build", "--scale", f"repo-service={replicas}")
    found = project.containers("repo-service")
    assert [one["State"]["Health"]["Status"] for one in found] == ["healthy"] * replicas
    assert_in_time(lambda: addresses_known_to_gateway(project) == replicas)


def addresses_known_to_gateway(project: ComposeProject) -> int:
    """How many replicas repo-service's name stands for, as the gateway last said."""
    (gateway,) = project.containers("gateway")
    events = [json.loads(line) for line in project.log_of(gateway) if '"replicas.changed"' in line]
    return len([event["addresses"] for event in events if event["upstream"] == "repo-service"][-1])


def spread_over_replicas(project: ComposeProject) -> list[int]:
    """How many of 60 requests each replica of repo-service answers; all of them are answered."""
    before = answered_by_replicas(project)
    for _ in range(REQUESTS):
        # With a token of the caller's own nothing is answered from the gateway's cache.
        answer = project.get("/trending-languages", {"Authorization": f"Bearer {READER_TOKEN}"})
        assert answer.status == 200
    assert_in_time(lambda: sum(answered_by_replicas(project).values()) == sum(before.values()) + REQUESTS)
    return sorted(count - before[replica] for replica, count in answered_by_replicas(project).items())


def answered_by_replicas(project: ComposeProject) -> dict[str, int]:
    """How many requests for the languages each replica of repo-service has answered so far."""
    return {
        replica["Name"]: sum(
            '"request.answered"' in line and '"/trending-languages"' in line for line in project.log_of(replica)
        )
        for replica in project.containers("repo-service")
    }


def test_migrations_are_applied_once_however_often_it_is_brought_up(project: ComposeProject) -> None:
    assert len(re.findall(r"migrations: \d+ applied", project.logs())) == 1


def test_everything_stops_by_itself_and_in_time(project: ComposeProject) -> None:
    started = time.monotonic()
    project.run("stop")
    assert time.monotonic() - started < STOP_SECONDS
    codes = {container["Name"]: container["State"]["ExitCode"] for container in project.containers()}
    assert set(codes.values()) == {0}, codes


def test_no_log_tells_a_secret(project: ComposeProject) -> None:
    logs = project.logs()
    for service in SERVICES:
        assert f'"service":"{service}"' in logs
    assert '"event":"request.answered"' in logs
    for secret in (
        READER_TOKEN,
        SECOND_READER_TOKEN,
        UNKNOWN_TOKEN,
        project.settings["SECRET_KEY"],
        project.settings["POSTGRES_PASSWORD"],
    ):
        assert secret not in logs


def assert_in_time(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)

"""What the processes of a local run are told."""

import socket

import pytest

from local import stack
from local.supervisor import Process

SETTINGS = {"GATEWAY_PORT": "9000", "SECRET_KEY": "k" * 32}


@pytest.fixture
def stages() -> list[list[Process]]:
    return stack.wegit(SETTINGS, "postgresql://somewhere/wegit")


def test_the_gateway_starts_last_and_migrations_first(stages: list[list[Process]]) -> None:
    assert [[process.name for process in stage] for stage in stages] == [
        ["migrations"],
        ["notifier-service", "repo-service", "developer-service", "search-service"],
        ["gateway"],
    ]


def test_the_gateway_is_told_where_each_service_listens(stages: list[list[Process]]) -> None:
    _, services, (gateway,) = stages
    for service in services:
        variable = f"{service.name.replace('-', '_').upper()}_URL"
        assert gateway.environment[variable] == f"http://127.0.0.1:{service.environment['PORT']}"


def test_no_two_services_share_a_port(stages: list[list[Process]]) -> None:
    assert len({service.environment["PORT"] for service in stages[1]}) == 4


def test_only_the_gateway_can_be_opened_to_the_network() -> None:
    _, services, (gateway,) = stack.wegit({**SETTINGS, "HOST": "0.0.0.0"}, "postgresql://somewhere/wegit")
    assert gateway.environment["HOST"] == "0.0.0.0"
    assert {service.environment["HOST"] for service in services} == {"127.0.0.1"}


def test_logs_are_for_people_unless_asked_otherwise() -> None:
    for settings, expected in ((SETTINGS, "console"), ({**SETTINGS, "LOG_FORMAT": "json"}, "json")):
        (gateway,) = stack.wegit(settings, "postgresql://somewhere/wegit")[-1]
        assert gateway.environment["LOG_FORMAT"] == expected


def test_a_demo_gets_nothing_real() -> None:
    real = dict.fromkeys(stack.NOT_IN_DEMO, "real")
    demo = stack.demo_settings({**SETTINGS, **real}, 9001, "made up")
    assert "real" not in demo.values()
    assert demo["GITHUB_API_URL"] == demo["GITHUB_WEB_URL"] == "http://127.0.0.1:9001"
    assert demo["GITHUB_TOKENS"] == "made up"
    assert float(demo["TRENDING_INTERVAL_SECONDS"]) < 5
    assert demo["TRENDING_PAGE_INTERVAL_SECONDS"] == "15"
    assert demo["OPERATOR_KEY"] == stack.DEMO_OPERATOR_KEY


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(stack.PortTaken, match="GATEWAY_PORT"):
        stack.check_port_is_free("127.0.0.1", taken.getsockname()[1])

"""The containers under test: built and started once, from the two compose files, as a project of its own."""

import secrets
from collections.abc import Iterator

import pytest

from tests.compose.project import ComposeProject, missing_engine


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips what needs Docker where there is none."""
    if reason := missing_engine():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def project(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeProject]:
    """All of WeGit beside the imitation GitHub, healthy, on a free port; nothing is left of it afterwards."""
    made = ComposeProject(
        f"wegit-test-{secrets.token_hex(4)}",
        tmp_path_factory.mktemp("compose") / "env",
        {
            "SECRET_KEY": secrets.token_urlsafe(32),
            "POSTGRES_PASSWORD": f"{secrets.token_urlsafe(16)}@:/%",  # what a URL would choke on
            "GATEWAY_PORT": "0",  # Docker picks a free one
            "LOG_LEVEL": "debug",  # it tells most, so it could betray most
        },
    )
    try:
        made.run("build", timeout_seconds=600)
        made.run("up", "--detach", "--wait", timeout_seconds=180)
        yield made
    except AssertionError:
        print(made.logs())
        raise
    finally:
        made.run("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "5", check=False)

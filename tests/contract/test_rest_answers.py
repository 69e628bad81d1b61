"""Every recorded answer of GitHub's REST interface is understood: typed, followed, or turned into the right error.

The project's own samples are always read; recordings of the real GitHub where RECORDINGS_DIR names their folder.
"""

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from aiohttp import ClientSession

from github_client.client import GitHubClient
from github_client.credentials import Credential
from github_client.models import Developer, Event, FoundDeveloper, Repository, SearchResult
from github_client.protocol import last_known_page, parse_links
from service_kit.client import open_session
from service_kit.errors import (
    NotFound,
    ServiceError,
    Unauthorized,
    UpstreamFault,
    UpstreamLimited,
    UpstreamStatus,
)
from service_kit.metrics import Metrics
from tests.fakes.replica import make_client
from tests.fakes.upstream import ScriptedUpstream

SAMPLES = Path(__file__).parents[1] / "samples" / "rest"
RECORDINGS = Path(os.environ["RECORDINGS_DIR"], "rest") if os.environ.get("RECORDINGS_DIR") else None
CALLER = Credential("caller", "caller", "ghp_of_the_caller")
NEVER_SENT_BY_A_REPLAY = {"content-encoding", "transfer-encoding", "content-length", "connection", "date", "server"}

SHAPES: list[tuple[str, Any]] = [
    (r"/repos/[^/]+/[^/]+|/repositories/\d+", Repository),
    (r"/users/[^/]+|/user|/orgs/[^/]+", Developer),
    (r"(/users/[^/]+|/user/\d+|/repos/[^/]+/[^/]+)?/(received_)?events(/public)?", list[Event]),
    (r"/search/repositories", SearchResult[Repository]),
    (r"/search/users", SearchResult[FoundDeveloper]),
]
FAILURES: list[tuple[str, type[ServiceError]]] = [
    (r"err_401_", Unauthorized),
    (r"err_40[39]_(primary|secondary|abuse)|err_429", UpstreamLimited),
    (r"err_403_bad_useragent", ServiceError),
    (r"err_404", NotFound),
    (r"err_422", UpstreamStatus),
    (r"err_non_json", UpstreamStatus),
]

UNREADABLE = {"err_json_parse", "conditional_200"}
"""A cut body; and a repository of 2013, before it had `stargazers_count`: refused rather than served with zeros."""


def all_files() -> list[Any]:
    files = sorted(SAMPLES.glob("*.json"))
    parameters = [pytest.param(file, id=f"sample-{file.stem}") for file in files]
    if RECORDINGS is None:
        skip = pytest.mark.skip(reason="RECORDINGS_DIR names no folder of recordings")
        return [*parameters, pytest.param(None, id="recordings", marks=skip)]
    recordings = sorted(RECORDINGS.glob("*.json"))
    assert recordings, f"{RECORDINGS} holds no recordings"
    return [*parameters, *(pytest.param(file, id=file.stem) for file in recordings)]


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session(Metrics()) as opened:
        yield opened


def shape_of(path: str) -> Any:
    return next((shape for pattern, shape in SHAPES if re.fullmatch(pattern, path)), None)


def target_of(exchange: dict[str, Any]) -> str:
    request = exchange["request"]
    url: str = request.get("url") or request["path"]
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def script(upstream: ScriptedUpstream, exchange: dict[str, Any], origin: str) -> None:
    headers = {
        name: value.replace(origin, upstream.url) if name.lower() == "location" else value
        for name, value in flat(exchange["headers"])
        if name.lower() not in NEVER_SENT_BY_A_REPLAY
    }
    body = exchange["body"]
    encoded = (body if isinstance(body, str) else json.dumps(body)).encode() if body is not None else b""
    upstream.answer(urlsplit(target_of(exchange)).path, encoded, exchange["status"], headers)


def gets_in(file: Path) -> list[dict[str, Any]]:
    exchanges = json.loads(file.read_text())["exchanges"]
    return [exchange for exchange in exchanges if exchange["request"].get("method", "GET") == "GET"]


def flat(headers: dict[str, str | list[str]]) -> list[tuple[str, str]]:
    return [(name, value if isinstance(value, str) else ", ".join(value)) for name, value in headers.items()]


@pytest.mark.parametrize("file", all_files())
async def test_every_recorded_answer_is_understood(file: Path, session: ClientSession) -> None:
    exchanges = gets_in(file)
    if not exchanges:
        pytest.skip("no GET in it: we make no other request")
    for exchange in exchanges:
        async with ScriptedUpstream() as upstream:
            script(upstream, exchange, "https://api.github.com")
            for other in exchanges if exchange["status"] in {301, 302} else ():
                if target_of(other) != target_of(exchange):
                    script(upstream, other, "https://api.github.com")
            github = make_client(session, upstream.url)
            await understand(github, upstream, file.stem, exchange)


async def understand(github: GitHubClient, upstream: ScriptedUpstream, name: str, exchange: dict[str, Any]) -> None:
    status, target = exchange["status"], target_of(exchange)
    if status in {304, 307} or (status == 301 and len(upstream.scripted) == 1):
        # Answers to requests that we do not make (conditional, writes), or whose target was not recorded.
        with pytest.raises((UpstreamFault, NotFound)):
            await github.get(target, caller=CALLER)
        return
    if status >= 400:
        expected = next(error for pattern, error in FAILURES if re.search(pattern, name))
        with pytest.raises(expected) as caught:
            await github.get(target, caller=CALLER)
        if isinstance(caught.value, UpstreamLimited):
            assert caught.value.retry_after_seconds is not None
            assert 1 <= caught.value.retry_after_seconds <= 3700
        return
    reply = await github.get(target, caller=CALLER)
    assert upstream.asked[0].headers["X-GitHub-Api-Version"] == "2022-11-28"
    shape = shape_of(urlsplit(target).path)
    if name in UNREADABLE:
        with pytest.raises(msgspec.MsgspecError):
            msgspec.json.decode(reply.body, type=shape)
    elif shape is not None and exchange["body"]:
        understood = msgspec.json.decode(reply.body, type=shape)
        if status == 301:
            assert len(upstream.asked) == 2
        else:
            check_shape(understood, exchange["body"])
    links = parse_links(reply.headers.get("Link"))
    if "last" in links:
        numbers = [int(number) for number in re.findall(r"[?&]page=(\d+)", reply.headers["Link"])]
        assert last_known_page(1, links) == max(numbers)


def check_shape(understood: Any, recorded: Any) -> None:
    """The fields that a client would miss first, beside the recording."""
    match understood:
        case Repository():
            assert understood.stargazers_count == recorded["stargazers_count"]
            assert understood.owner.login == recorded["owner"]["login"]
            assert understood.forks_count == recorded["forks_count"]
        case Developer():
            assert (understood.login, understood.followers) == (recorded["login"], recorded["followers"])
            assert understood.bio == recorded.get("bio")
        case SearchResult():
            assert understood.total_count == recorded["total_count"]
            assert len(understood.items) == len(recorded["items"])
        case list():
            assert [event.id for event in understood] == [event["id"] for event in recorded]
            assert [event.actor.login for event in understood] == [event["actor"]["login"] for event in recorded]
            assert understood

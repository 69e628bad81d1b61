"""A GitHub that hangs, drips, cuts, lies or sends far too much: the last good copy is answered, nothing bad is kept."""

import asyncio
import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Any, NoReturn
from urllib.parse import urlsplit

import hypothesis.strategies as st
import msgspec
import psycopg2
import pytest
from hypothesis import example, given, settings
from multidict import CIMultiDict, CIMultiDictProxy

from github_client import cached_github, client, rest
from github_client.cache import unpack
from github_client.cached_github import CachedGitHub
from github_client.client import GitHubReply
from github_client.credentials import ANONYMOUS, Credential
from github_client.lifetimes import LIFETIMES
from github_client.models import Repository
from github_client.resource import Answer, Resource
from service_kit.client import Reply
from service_kit.errors import ServiceError, UpstreamFault, UpstreamTimeout
from tests.fakes.bad_github import MIB, BadGitHub, Behave, answers, bomb, drip, hang, reset, too_much
from tests.fakes.clock import START, SimulatedClock
from tests.fakes.github_objects import event, repository
from tests.fakes.replica import replica
from tests.fakes.waiting import until

TIMEOUT_SECONDS, PATIENCE_SECONDS = 2.5, 0.2
SLACK_SECONDS = 1.5
"""What a busy machine may take."""
OLD_SECONDS = sum(LIFETIMES["repository"]) + 1
WELL = answers(repository(), 'ETag: "well"')
WHOLE = json.dumps(repository()).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"

UNBEARABLE: dict[str, Callable[[], Behave]] = {
    "hangs": lambda: hang,
    "drips a body": lambda: drip(HEAD),
    "drips a head": lambda: drip(b"HTTP/1.1 200 OK\r\nX-Slow: "),
    "cuts": lambda: answers(WHOLE[:100], length=len(WHOLE)),
    "cuts and says it is whole": lambda: answers(WHOLE[:100]),
    "resets": lambda: reset,
    "hangs up": lambda: _hang_up,
    "is no HTTP": lambda: _speak_otherwise,
    "sends HTML as JSON": lambda: answers(b"<html><h1>Unicorn!</h1></html>"),
    "sends nothing": lambda: answers(b""),
    "sends a list": lambda: answers([repository()]),
    "sends an error as a success": lambda: answers({"message": "Server Error"}),
    "says that nothing changed, unasked": lambda: answers(b"", status="304 Not Modified"),
    "sends a field of another type": lambda: answers(repository(stargazers_count="many")),
    "sends JSON without end": lambda: answers(b'{"private":false,"more":' + b"[" * 100_000),
    "sends half a letter": lambda: answers(WHOLE.replace(b"made-up", b"\xff")),
    "sends what is not gzip as gzip": lambda: answers(WHOLE, "Content-Encoding: gzip"),
    "sends 50 MB": lambda: too_much(50),
    "sends 4 GB as gzip": lambda: bomb("gzip", 4096),
    "sends 4 GB as deflate": lambda: bomb("deflate", 4096),
    "fails with 4 GB": lambda: bomb("gzip", 4096, status="500 Oh"),
    "redirects for ever": lambda: answers(b"", "Location: /repos/made-up/sample", status="301 Moved"),
    "redirects elsewhere": lambda: answers(b"", "Location: http://127.0.0.1:1/", status="302 Found"),
    "is overloaded": lambda: answers({"message": "Server Error"}, status="502 Bad Gateway"),
}


async def _hang_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Close the connection."""


async def _speak_otherwise(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.fixture(scope="module")
def database(postgres: str, migrated_template: str) -> Iterator[str]:
    """One for all cases, which differ in what they ask for: to have one each would take longer than the tests."""
    with closing(psycopg2.connect(postgres)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"create database bad_answers template {migrated_template}")
        yield urlsplit(postgres)._replace(path="/bad_answers").geturl()
        cursor.execute("drop database bad_answers with (force)")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", TIMEOUT_SECONDS)
    monkeypatch.setattr(cached_github, "PATIENCE_SECONDS", PATIENCE_SECONDS)


@asynccontextmanager
async def fetching(database: str, behave: Behave) -> AsyncIterator[tuple[BadGitHub, SimulatedClock, CachedGitHub]]:
    clock = SimulatedClock()
    async with AsyncExitStack() as stack:
        github = await stack.enter_async_context(BadGitHub(behave))
        yield github, clock, await stack.enter_async_context(replica(github.url, database, clock))


def slug(name: str) -> str:
    return name.replace(" ", "-").replace(",", "").lower()


async def fetch(cached: CachedGitHub, name: str) -> Answer[Repository]:
    return await rest.fetch_repository(cached, "made-up", slug(name), None)


def kept(database: str, name: str) -> list[tuple[int | None, object]]:
    """What Postgres holds of it: status and body."""
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("select status, body from github_answer where key like %s", (f"% /repos/made-up/{name}?%",))
        rows = cursor.fetchall()
    return [(status, json.loads(unpack(bytes(body))) if body else None) for status, body in rows]


@pytest.mark.parametrize("name", UNBEARABLE)
async def test_without_a_copy_it_is_a_fault_in_time_and_nothing_is_kept(database: str, name: str) -> None:
    async with fetching(database, UNBEARABLE[name]()) as (github, clock, cached):
        asked_for = f"{name}-new"
        began = time.monotonic()
        with pytest.raises(UpstreamFault) as caught:
            await fetch(cached, asked_for)
        assert time.monotonic() - began < TIMEOUT_SECONDS + SLACK_SECONDS
        assert caught.value.status == (504 if isinstance(caught.value, UpstreamTimeout) else 502)
        assert len(cached._memory) == 0
        assert kept(database, slug(asked_for)) == [(None, None)], "the lease alone"
        github.behave = WELL
        clock.advance(60)
        assert (await fetch(cached, asked_for)).value.stargazers_count == 1


@pytest.mark.parametrize("name", [name for name in UNBEARABLE if not name.startswith("says that nothing changed")])
async def test_the_last_good_copy_goes_on(database: str, name: str) -> None:
    async with fetching(database, WELL) as (github, clock, cached):
        await fetch(cached, name)
        good = kept(database, slug(name))
        assert len(good) == 1
        github.behave = UNBEARABLE[name]()
        clock.advance(OLD_SECONDS)
        for _ in range(2):
            began = time.monotonic()
            answer = await fetch(cached, name)
            assert time.monotonic() - began < PATIENCE_SECONDS + SLACK_SECONDS
            assert (answer.value.stargazers_count, answer.freshness.is_stale) == (1, True)
            assert answer.freshness.as_of == START
        await until(lambda: not cached._tasks, TIMEOUT_SECONDS + SLACK_SECONDS)
        assert kept(database, slug(name)) == good
        github.behave = answers(repository(stargazers_count=2))
        clock.advance(600)
        assert (await fetch(cached, name)).value.stargazers_count == 2


@pytest.mark.parametrize("name", ["sends 50 MB", "sends 4 GB as gzip", "sends 4 GB as deflate", "fails with 4 GB"])
async def test_far_too_much_takes_little_memory(database: str, name: str) -> None:
    async with fetching(database, UNBEARABLE[name]()) as (_, _, cached):
        tracemalloc.start()
        try:
            with pytest.raises(UpstreamFault):
                await fetch(cached, f"{name}, again")
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 24 * MIB


async def test_an_error_page_is_no_readme(database: str) -> None:
    page = answers(b"<html><h1>Unicorn!</h1></html>", "Content-Type: text/html; charset=utf-8")
    text = answers(b"# Hi", "Content-Type: application/vnd.github.raw+json; charset=utf-8")
    async with fetching(database, WELL) as (github, _, cached):
        await fetch(cached, "with-readme")
        github.behave = page
        asked = cached, "made-up", "with-readme", rest.MARKDOWN, None
        _, readme = await rest.fetch_repository_and_readme(*asked)
        assert isinstance(readme, UpstreamFault)
        github.behave = text
        _, readme = await rest.fetch_repository_and_readme(*asked)
        assert isinstance(readme, Answer)
        assert readme.value == "# Hi"


class _ReadingGitHub(CachedGitHub):
    """Hands out what it would ask for."""

    def __init__(self) -> None:
        """Nothing is needed."""

    async def answer(self, resource: Resource[Any], caller: Credential | None = None) -> NoReturn:
        raise _Wanted(resource)


class _Wanted(Exception):
    """What would have been asked for."""

    def __init__(self, resource: Resource[Any]) -> None:
        self.resource = resource


async def _resources() -> list[Resource[Any]]:
    github = _ReadingGitHub()
    parameters: dict[str, str | int] = {"q": "x", "page": 1}
    asking = [
        rest.fetch_repository(github, "made-up", "sample", None),
        rest.fetch_developer(github, "made-up", None),
        rest.fetch_events(github, "made-up", "events/public", 1, None),
        rest.search_repositories(github, parameters, None),
        rest.search_developers(github, parameters, None),
    ]
    outcomes: list[Any] = await asyncio.gather(*asking, return_exceptions=True)
    return [wanted.resource for wanted in outcomes]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
whole = st.sampled_from(
    [repository(), event(1), {"total_count": 1, "incomplete_results": False, "items": [repository()]}]
)
changed = st.builds(
    lambda given, name, value: {**given, name: value}, whole, st.sampled_from(sorted(repository())), anything
)
bodies = st.binary() | st.builds(msgspec.json.encode, anything | changed | st.lists(whole | changed, max_size=3))


@given(bodies)
@settings(deadline=None, max_examples=300, derandomize=True)
@example(WHOLE)
@example(WHOLE.replace(b"made-up", rb"\ud800"))
@example(WHOLE.replace(b"made-up", rb"\u0000"))
@example(WHOLE.replace(b'"id": 70', b'"id": ' + b"7" * 400))
@example(WHOLE.replace(b'"id": 70', b'"id": 1e999'))
@example(WHOLE.replace(b"2024-", b"0000-"))
@example(b'{"private":false,"more":' + b"[" * 100_000)
@example(b"[" * 100_000)
def test_whatever_a_body_holds_it_is_read_or_refused(body: bytes) -> None:
    reply = GitHubReply(Reply(200, CIMultiDictProxy(CIMultiDict()), body), ANONYMOUS, START)

    async def read_all() -> None:
        resources = await _resources()
        assert len(resources) == 5
        for resource in resources:
            try:
                value = await resource.read(reply)
            except ServiceError:
                continue
            assert resource.decode(msgspec.json.encode(value)) == value, "what is kept can be read again"

    asyncio.run(read_all())

"""Whatever several identities ask, and however repositories change between: nobody is shown another's answer."""

import asyncio
import re
from collections import Counter
from contextlib import AsyncExitStack, closing
from typing import Any, ClassVar

import hypothesis.strategies as st
import psycopg2
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from github_client.cache import unpack
from github_client.cached_github import CachedGitHub
from github_client.credentials import Credential
from github_client.rest import (
    HTML,
    MARKDOWN,
    fetch_caller,
    fetch_events,
    fetch_repository,
    fetch_repository_and_readme,
    search_repositories,
)
from service_kit.errors import NotFound, ServiceError
from tests.fakes.clock import SimulatedClock
from tests.fakes.private_github import PrivateGitHub
from tests.fakes.replica import replica
from tests.fakes.waiting import until

LOGINS = ("ann", "bob", "cyd")
OPERATORS = {"plain", "root"}
TOKENS = {f"ghp_of_{login}_and_nobody_else": login for login in (*LOGINS, *sorted(OPERATORS))}
WHOSE = {login: token for token, login in TOKENS.items()}
CALLERS: dict[str, Credential | None] = {
    login: Credential("caller", "caller", token) for token, login in TOKENS.items() if login in LOGINS
}
IDENTITIES = CALLERS | {"everybody": None}
OPERATOR = [Credential("operator", login, token) for token, login in TOKENS.items() if login in OPERATORS]
OPERATOR_WHO_SEES_ALL = OPERATOR[-1]
NAMES = ("one", "two")
REPLICAS = 3
EXAMPLES = 40
"""Of up to 50 steps."""
names, logins, replicas = st.sampled_from(NAMES), st.sampled_from(LOGINS), st.integers(0, REPLICAS - 1)


class Sequences(RuleBasedStateMachine):
    """Several replicas of a service, a GitHub, and all that may happen one after another."""

    seen: ClassVar[Counter[str]] = Counter()
    """How often what the test is about has happened at all, over all sequences."""
    database_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.clock = SimulatedClock()
        self.github = PrivateGitHub(TOKENS, {"root"})
        self.replicas: dict[int, tuple[AsyncExitStack, CachedGitHub]] = {}
        self.connection = self.stack.enter_context(closing(psycopg2.connect(self.database_url)))
        self.connection.autocommit = True
        self.connection.cursor().execute("truncate github_answer")
        self.events = self.stack.enter_context(structlog.testing.capture_logs())
        self.operator: list[Credential] = []

    async def _start(self) -> None:
        await self.github.server.start_server()
        for number in range(REPLICAS):
            await self._start_replica(number)

    async def _start_replica(self, number: int) -> None:
        stack = AsyncExitStack()
        started = replica(self.github.url, self.database_url, self.clock, *self.operator)
        self.replicas[number] = stack, await stack.enter_async_context(started)

    def teardown(self) -> None:
        async def stop() -> None:
            for stack, _ in self.replicas.values():
                await stack.aclose()
            await self.github.server.close()
            await self.stack.aclose()

        self.runner.run(stop())
        self.seen["not modified"] += self.github.not_modified
        self.runner.close()

    @initialize(
        private=st.lists(st.booleans(), min_size=2, max_size=2),
        reader=st.sampled_from(LOGINS),
        operator=st.sampled_from([OPERATOR, OPERATOR[1:]]),
    )
    def begin(self, private: list[bool], reader: str, operator: list[Credential]) -> None:
        self.operator = operator
        self.runner.run(self._start())
        for name, one in zip(NAMES, private, strict=True):
            self.github.create(name, private=one)
            self.github.let_read(name, reader, may=True)

    @rule(who=st.sampled_from(sorted(IDENTITIES)), name=names, number=replicas)
    def ask_for_a_repository(self, who: str, name: str, number: int) -> None:
        caller, cached = IDENTITIES[who], self.replicas[number][1]
        self._ask(who, lambda: fetch_repository(cached, "made-up", name, caller))

    @rule(
        who=st.sampled_from(sorted(IDENTITIES)),
        name=names,
        number=replicas,
        media_type=st.sampled_from([MARKDOWN, HTML]),
    )
    def ask_for_a_readme(self, who: str, name: str, number: int, media_type: str) -> None:
        caller, cached = IDENTITIES[who], self.replicas[number][1]
        self._ask(who, lambda: fetch_repository_and_readme(cached, "made-up", name, media_type, caller))

    @rule(who=st.sampled_from(sorted(IDENTITIES)), number=replicas)
    def search(self, who: str, number: int) -> None:
        caller, cached = IDENTITIES[who], self.replicas[number][1]
        self._ask(who, lambda: search_repositories(cached, {"q": "sample", "page": 1}, caller))

    @rule(who=st.sampled_from(sorted(IDENTITIES)), number=replicas)
    def ask_for_events(self, who: str, number: int) -> None:
        caller, cached = IDENTITIES[who], self.replicas[number][1]
        self._ask(who, lambda: fetch_events(cached, "made-up", "received_events", 1, caller))

    @rule(who=logins, number=replicas)
    def ask_who_i_am(self, who: str, number: int) -> None:
        caller, cached = CALLERS[who], self.replicas[number][1]
        assert caller is not None
        self._ask(who, lambda: fetch_caller(cached, caller))

    @rule(name=names, private=st.booleans())
    def hide_or_show(self, name: str, private: bool) -> None:
        self.github.show(name, private=private)

    @rule(name=names)
    def push(self, name: str) -> None:
        self.github.push(name)

    @rule(name=names)
    def hide_and_push(self, name: str) -> None:
        self.github.show(name, private=True)
        self.github.push(name)

    @rule(name=names, new_name=names)
    def rename(self, name: str, new_name: str) -> None:
        self.github.rename(name, new_name)

    @rule(name=names, private=st.booleans(), is_left_out=st.booleans())
    def delete_and_create(self, name: str, private: bool, is_left_out: bool) -> None:
        self.github.delete(name)
        if not is_left_out:
            self.github.create(name, private=private)

    @rule(name=names, login=logins, may=st.booleans())
    def let_read(self, name: str, login: str, may: bool) -> None:
        self.github.let_read(name, login, may=may)

    @rule(seconds=st.sampled_from([1, 61, 301, 901, 4000, 90_000]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(trouble=st.sampled_from(["revoked", "down", "restart"]), number=replicas, login=st.sampled_from(list(WHOSE)))
    def have_trouble(self, trouble: str, number: int, login: str) -> None:
        if trouble == "restart":
            self.runner.run(self._restart(number))
        elif trouble == "down":
            self.github.is_down = True
        else:
            self.github.tokens.pop(WHOSE[login], None)

    @rule()
    def have_none(self) -> None:
        self.github.is_down = False
        self.github.tokens = dict(TOKENS)

    async def _restart(self, number: int) -> None:
        await self.replicas[number][0].aclose()
        await self._start_replica(number)

    @invariant()
    def an_etag_went_only_with_the_credential_that_got_it(self) -> None:
        assert self.github.crossed_etags == []

    @invariant()
    def postgres_holds_what_everybody_may_see(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute("select row_to_json(r)::text, body from github_answer r")
            rows = [(text, unpack(bytes(body or b"")).decode()) for text, body in cursor.fetchall()]
        for text, body in rows:
            self._check(body, OPERATORS, self.github.ever_public)
            assert not _identities_in(text)
        self.seen["rows"] += len(rows)

    @invariant()
    def the_log_tells_no_secret(self) -> None:
        text = str(self.events)
        assert not [token for token in TOKENS if token in text]
        assert not set(re.findall(r"shown:(\w+):", text)) - OPERATORS
        # At level debug the beginning of what the operator was shown is logged: who turns that on wants to see it.
        text = str([event for event in self.events if event["log_level"] != "debug"])
        assert "content:" not in text
        self.events.clear()

    def _ask(self, who: str, ask: Any) -> None:
        async def ask_and_settle() -> list[Any]:
            try:
                answer = await ask()
                parts = answer if isinstance(answer, tuple) else (answer,)
                return [part.body.decode() for part in parts if not isinstance(part, ServiceError)]
            except ServiceError as error:
                return [str(error)]
            finally:
                # So that each step's consequences are its own: what is renewed behind has come.
                await until(lambda: not any(cached._tasks for _, cached in self.replicas.values()))

        for body in self.runner.run(ask_and_settle()):
            if who == "everybody":
                self._check(body, OPERATORS, self.github.ever_public)
            else:
                self._check(body, {who}, None)

    def _check(self, body: str, shown_to: set[str], contents: set[str] | None) -> None:
        shown, found = set(re.findall(r"shown:(\w+):", body)), set(re.findall(r"content:\d+:", body))
        assert shown <= shown_to, body
        assert contents is None or found <= contents, body
        for login in shown:
            self.seen[f"shown to {login}"] += 1
        self.seen["private contents"] += len(found - self.github.ever_public)


def _identities_in(text: str) -> list[str]:
    callers = [caller for caller in CALLERS.values() if caller is not None]
    return [caller.name for caller in callers if caller.identity in text]


def test_nobody_is_shown_what_another_was_shown(database_url: str) -> None:
    Sequences.database_url, Sequences.seen = database_url, Counter()
    suppressed = [HealthCheck.too_slow, HealthCheck.data_too_large]
    limits = settings(max_examples=EXAMPLES, stateful_step_count=50, deadline=None, suppress_health_check=suppressed)
    run_state_machine_as_test(Sequences, settings=settings(limits, derandomize=True))
    wanted = ["not modified", "rows", "private contents", *(f"shown to {login}" for login in (*LOGINS, "root"))]
    assert all(Sequences.seen[name] for name in wanted), Sequences.seen


async def test_a_readme_is_not_shown_once_its_repository_is_private(database_url: str) -> None:
    """Although the copy of the repository still says that it is public."""
    github = PrivateGitHub(TOKENS, {"root"})
    async with github.server, replica(github.url, database_url, SimulatedClock(), OPERATOR_WHO_SEES_ALL) as cached:
        github.create("one", private=False)
        await fetch_repository(cached, "made-up", "one", None)
        github.show("one", private=True)
        github.push("one")
        repository, readme = await fetch_repository_and_readme(cached, "made-up", "one", MARKDOWN, None)
        assert isinstance(readme, NotFound)
        assert not repository.value.private


async def test_a_readme_costs_one_call_more_only_where_it_may_be_private(database_url: str) -> None:
    github = PrivateGitHub(TOKENS, {"root"})
    github.create("one", private=False)
    async with github.server:
        for scopes, calls in ((None, 3), ("repo, gist", 3), ("", 2), ("public_repo", 2)):
            github.scopes, github.asked = scopes, 0
            with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
                cursor.execute("truncate github_answer")
            async with replica(github.url, database_url, SimulatedClock(), OPERATOR_WHO_SEES_ALL) as cached:
                _, readme = await fetch_repository_and_readme(cached, "made-up", "one", MARKDOWN, None)
                assert not isinstance(readme, ServiceError)
            assert github.asked == calls


async def test_when_another_credential_takes_over_it_does_without_the_etag(database_url: str) -> None:
    github, clock = PrivateGitHub(TOKENS, {"root"}), SimulatedClock()
    github.create("one", private=False)
    async with github.server, replica(github.url, database_url, clock, *OPERATOR) as cached:
        first = await fetch_repository(cached, "made-up", "one", None)
        [asked_with] = re.findall(r"shown:(\w+):", first.value.description or "")
        for seconds, others in ((90_000, OPERATORS), (180_000, OPERATORS - {asked_with})):
            clock.advance(seconds)
            github.tokens = {token: login for token, login in TOKENS.items() if login in others}
            await fetch_repository(cached, "made-up", "one", None)
    assert (github.not_modified, github.crossed_etags) == (1, [])
    [row] = _rows(database_url)
    assert f"shown:{(OPERATORS - {asked_with}).pop()}:" in row


def _rows(database_url: str) -> list[str]:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("select body from github_answer")
        return [unpack(bytes(body)).decode() for (body,) in cursor.fetchall()]

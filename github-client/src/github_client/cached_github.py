"""GitHub's answers, from a copy where one will do: fresh, or stale and renewed behind, one fetch at a time.

A copy is looked for in the process, then in Postgres, where one replica at a time has the lease to ask GitHub. While
GitHub fails the last good copy goes on. Answers to a caller's own token stay in the process, under a key that only
this token leads to.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from math import ceil, floor
from typing import Any, TypeVar

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from github_client.cache import Copy, MemoryCache, pack
from github_client.client import GitHubClient, NotModified, Validator
from github_client.clock import Clock
from github_client.credentials import Credential
from github_client.lifetimes import LIFETIMES, MISSING, STALE_IF_ERROR_SECONDS, Lifetime
from github_client.protocol import last_known_page, page_of, parse_links
from github_client.quota import Purpose
from github_client.resource import Answer, Resource
from github_client.shared_cache import Shared, SharedCache
from service_kit.answers import Freshness
from service_kit.errors import (
    Forbidden,
    NotFound,
    ServiceError,
    Unauthorized,
    Unavailable,
    UnavailableForLegalReasons,
    UpstreamFault,
    UpstreamLimited,
    UpstreamTimeout,
)
from service_kit.metrics import Metrics
from service_kit.patience import patience_seconds

PATIENCE_SECONDS = 2.0
"""How long a caller waits for the renewal of an old copy; then the copy is answered."""
ANSWER_SECONDS = 13.0
"""How long a caller waits where there is no copy, for other replicas and for GitHub. The gateway waits 15 s for us, or
what a first try elsewhere has left of them: then it is less."""
FETCH_LIMIT = 500
BEHIND_LIMIT = 50
"""Renewals at once in all, and of those begun for nobody who waits."""
LEASE_PATIENCE_SECONDS = 10.0
"""How long to wait for the replica that asks."""
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.02, 0.2
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 10.0, 300.0
"""A failed renewal of a copy is tried again after this, doubled for each one after another."""
AWAY_SECONDS = 2.0
"""For so long Postgres is not asked after it failed: no caller is to wait for it twice."""
CANCELLATION_SECONDS = 2.0
"""Longer than a fetch that is cancelled takes to give its lease back."""
PASSING = (UpstreamFault, UpstreamLimited, Unavailable)
"""Failures that do not say anything about the resource."""
T = TypeVar("T")
log = structlog.get_logger()


class _Flight:
    """A renewal under way: `first_copy` is any copy that turned up, `outcome` the renewed one."""

    __slots__ = ("first_copy", "outcome")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.first_copy: asyncio.Future[Copy] = loop.create_future()
        self.outcome: asyncio.Future[Copy] = loop.create_future()

    def offer(self, copy: Copy) -> None:
        if not self.first_copy.done():
            self.first_copy.set_result(copy)

    def land(self, copy: Copy) -> None:
        self.offer(copy)
        self.outcome.set_result(copy)

    def fail(self, error: BaseException) -> None:
        for future in (self.first_copy, self.outcome):
            if not future.done():
                future.set_exception(error)
                future.exception()  # it may be that nobody waits for it


class CachedGitHub:
    """Answers about GitHub's resources. To be used in `async with running()`."""

    def __init__(
        self, github: GitHubClient, memory: MemoryCache, shared: SharedCache, clock: Clock, metrics: Metrics
    ) -> None:
        self._github = github
        self._memory = memory
        self._shared = shared
        self._clock = clock
        self._flights: dict[str, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        """Flights, and those that have landed and still tell Postgres."""
        self._behind = 0
        self._shared_away_until = float("-inf")
        self._answers = Counter(
            "github_answers_total",
            "Answers about GitHub's resources: from a fresh copy, a stale one, or by asking (miss).",
            ("kind", "outcome"),
            registry=metrics.registry,
        )
        size = Gauge("github_copies_bytes", "Copies of GitHub's answers in this process.", registry=metrics.registry)
        size.set_function(lambda: self._memory.size_bytes)
        self._counters = {
            (kind, outcome): self._answers.labels(kind, outcome)
            for kind in LIFETIMES
            for outcome in ("fresh", "stale", "miss", "missing")
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fetches go on while the context is open."""
        try:
            yield
        finally:
            while self._tasks:
                for task in self._tasks:
                    task.cancel()
                # Again where it had no effect: Python 3.11's `wait_for`, which aiopg uses, may swallow a cancellation.
                await asyncio.wait(self._tasks, timeout=CANCELLATION_SECONDS)

    async def answer(self, resource: Resource[T], caller: Credential | None = None) -> Answer[T]:
        """The resource, as the caller's own token shows it, or as everybody may see it.

        Raises NotFound and UnavailableForLegalReasons (also from a copy), what the resource's `read` raises, and what
        asking GitHub raises when there is no copy to go on with.
        """
        key = resource.key if caller is None else f"{caller.identity} {resource.key}"
        copy = self._memory.get(key)
        if copy is not None:
            age_seconds = self._clock.seconds() - copy.confirmed_seconds
            if age_seconds < _fresh_seconds(copy, resource.lifetime):
                return self._answered(resource, copy, caller, age_seconds, "fresh")
        return await self._answer_renewed(resource, key, caller, copy)

    async def ask_anew(self, resource: Resource[T]) -> Answer[T]:
        """What GitHub says at this moment to everybody, whatever the copies say. Raises as `answer`."""
        copy = self._memory.get(resource.key)
        renewed = await self._ask(resource, None, copy if copy and copy.status == 200 else None, "people")
        self._memory.put(resource.key, renewed)
        await self._with_shared(self._shared.keep(resource.key, renewed))
        return self._answered(resource, renewed, None, 0.0, "miss")

    async def _answer_renewed(
        self, resource: Resource[T], key: str, caller: Credential | None, copy: Copy | None
    ) -> Answer[T]:
        if copy is not None and copy.status != 200:
            copy = None  # that there was nothing says nothing of now
        lifetime, began = resource.lifetime, self._clock.seconds()
        if copy is None:
            copy = await self._first_copy(resource, key, caller)
        now = self._clock.seconds()
        age_seconds = now - copy.confirmed_seconds
        if copy.status == 200 and age_seconds >= lifetime.fresh_seconds and copy.retry_seconds <= now:
            if age_seconds < lifetime.fresh_seconds + lifetime.revalidate_seconds:
                self._renew_behind(resource, key, caller, copy)
            else:
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        flight = self._flight(resource, key, caller, copy, "people")
                        copy = await asyncio.shield(flight.outcome)
                except _passing(caller) as error:
                    log.info("answer.stale", kind=resource.kind, reason=type(error).__name__)
        age_seconds = self._clock.seconds() - copy.confirmed_seconds
        copied = "fresh" if age_seconds < lifetime.fresh_seconds else "stale"
        # Another replica's copy is a copy, too, whoever had to wait for it.
        outcome = "miss" if copy.confirmed_seconds >= began else copied
        return self._answered(resource, copy, caller, age_seconds, outcome)

    async def _first_copy(self, resource: Resource[T], key: str, caller: Credential | None) -> Copy:
        try:
            async with asyncio.timeout(patience_seconds(ANSWER_SECONDS)):
                return await asyncio.shield(self._flight(resource, key, caller, None, "people").first_copy)
        except TimeoutError as error:
            raise UpstreamTimeout("GitHub's answer did not come in time.") from error

    def _answered(
        self, resource: Resource[T], copy: Copy, caller: Credential | None, age_seconds: float, outcome: str
    ) -> Answer[T]:
        if copy.status != 200:
            self._counters[resource.kind, "missing"].inc()
            raise _shown_as(copy.status)
        self._counters[resource.kind, outcome].inc()
        lifetime = resource.lifetime
        left = lifetime.fresh_seconds - age_seconds
        return Answer(
            copy,
            resource.decode,
            Freshness(
                as_of=copy.as_of,
                seconds_left=ceil(left) if left > 0 else floor(left),
                revalidate_seconds=lifetime.revalidate_seconds,
                if_error_seconds=STALE_IF_ERROR_SECONDS,
                is_private=caller is not None,
                is_copy=outcome != "miss",
            ),
        )

    def _renew_behind(self, resource: Resource[Any], key: str, caller: Credential | None, copy: Copy) -> None:
        if key in self._flights or self._behind >= BEHIND_LIMIT:
            return
        with suppress(Unavailable):  # too many fetches under way: the copy can wait
            flight = self._flight(resource, key, caller, copy, "background")
            self._behind += 1
            flight.outcome.add_done_callback(self._note_end_of_one_behind)

    def _note_end_of_one_behind(self, _outcome: asyncio.Future[Copy]) -> None:
        self._behind -= 1

    def _flight(
        self, resource: Resource[Any], key: str, caller: Credential | None, copy: Copy | None, purpose: Purpose
    ) -> _Flight:
        """The renewal that is under way for this key, or a new one. Raises Unavailable when too many are."""
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= FETCH_LIMIT:
                raise Unavailable("Too much is being asked of GitHub at once.", retry_after_seconds=1)
            flight = self._flights[key] = _Flight()
            task = asyncio.create_task(self._fly(flight, resource, key, caller, copy, purpose))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return flight

    async def _fly(
        self,
        flight: _Flight,
        resource: Resource[Any],
        key: str,
        caller: Credential | None,
        copy: Copy | None,
        purpose: Purpose,
    ) -> None:
        """Renew a copy, whoever still waits for it; the outcome goes to the flight."""
        try:
            if caller is None:
                await self._renew_shared(flight, resource, key, copy, purpose)
            else:
                self._land(flight, key, await self._ask_or_put_off(resource, key, caller, copy, purpose))
        except BaseException as error:
            if isinstance(error, Unauthorized | Forbidden) and caller is not None:
                self._memory.forget(key)
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.fail(error)
            if not isinstance(error, ServiceError):
                raise

    async def _renew_shared(
        self, flight: _Flight, resource: Resource[Any], key: str, copy: Copy | None, purpose: Purpose
    ) -> None:
        found = await self._with_shared(self._find_or_claim(flight, key, resource.lifetime))
        if found is not None and not found.is_leased:
            assert found.copy is not None
            self._land(flight, key, found.copy)
            return
        if found is not None and found.copy is not None:
            copy = found.copy
        try:
            renewed = await self._ask_or_put_off(resource, key, None, copy, purpose)
        except BaseException:
            if found is not None:
                # Shielded: at the end of the process, too, the next one is not to wait for a lease to run out.
                await asyncio.shield(self._with_shared(self._shared.release(key)))
            raise
        self._land(flight, key, renewed)
        unchanged = copy is not None and copy.etag is not None and renewed.packed is copy.packed
        if not (unchanged and await self._with_shared(self._shared.confirm(key, renewed))):
            await self._with_shared(self._shared.keep(key, renewed))

    async def _find_or_claim(self, flight: _Flight, key: str, lifetime: Lifetime) -> Shared:
        """A fresh copy that another replica has left, or the lease to ask, with the old copy."""
        pause_seconds = FIRST_POLL_SECONDS
        give_up = asyncio.get_running_loop().time() + LEASE_PATIENCE_SECONDS
        while True:
            known = await self._shared.read(key)
            if known.copy is not None:
                age_seconds = self._clock.seconds() - known.copy.confirmed_seconds
                if age_seconds < _fresh_seconds(known.copy, lifetime):
                    return Shared(known.copy, is_leased=False)
                if known.copy.status == 200:
                    flight.offer(known.copy)
            if not known.is_leased and (claimed := await self._shared.claim(key, lifetime)):
                return Shared(claimed.copy, is_leased=True)
            if asyncio.get_running_loop().time() > give_up:
                raise UpstreamTimeout("GitHub's answer did not come in time.")
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 1.5, LONGEST_POLL_SECONDS)

    async def _with_shared(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do something with Postgres; None when it is away, and at once while it is known to be."""
        if self._clock.seconds() < self._shared_away_until:
            work.close()
            return None
        try:
            return await work
        except Unavailable as error:
            self._shared_away_until = self._clock.seconds() + AWAY_SECONDS
            log.warning("cache.shared_away", error=error.detail)
            return None

    async def _ask_or_put_off(
        self, resource: Resource[Any], key: str, caller: Credential | None, copy: Copy | None, purpose: Purpose
    ) -> Copy:
        """A renewed copy; where GitHub fails, the old one is kept at hand and not renewed for a while."""
        try:
            return await self._ask(resource, caller, copy, purpose)
        except _passing(caller) as error:
            if copy is not None:
                _put_off(copy, error, self._clock.seconds())
                self._memory.put(key, copy)
            raise

    async def _ask(
        self, resource: Resource[Any], caller: Credential | None, copy: Copy | None, purpose: Purpose
    ) -> Copy:
        """A renewed copy, by asking GitHub. Raises whatever the answer means."""
        validator = Validator(copy.etag, copy.credential) if copy is not None and copy.etag else None
        found: dict[str, Any] = {}
        # Of before asking: an answer that a stopped process reads late is as old as that.
        now, as_of = self._clock.seconds(), self._clock.utc()
        try:
            reply = await self._github.get(
                resource.path,
                resource.parameters,
                caller=caller,
                accept=resource.accept,
                validator=validator,
                purpose=purpose,
            )
            if isinstance(reply, NotModified):
                assert copy is not None
                packed = copy.packed
                found = {"etag": copy.etag, "credential": copy.credential}
                found |= {"next_page": copy.next_page, "last_known_page": copy.last_known_page}
            else:
                packed = pack(msgspec.json.encode(await resource.read(reply)))
                links = parse_links(reply.headers.get("Link"))
                found = {"etag": reply.etag, "credential": reply.credential.identity}
                page = int(resource.parameters.get("page", 1))
                found |= {"next_page": page_of(links.get("next")), "last_known_page": last_known_page(page, links)}
            status = 200
        except NotFound:
            status, packed = 404, b""
        except UnavailableForLegalReasons:
            status, packed = 451, b""
        return Copy(status=status, packed=packed, as_of=as_of, confirmed_seconds=now, **found)

    def _land(self, flight: _Flight, key: str, copy: Copy) -> None:
        self._memory.put(key, copy)
        del self._flights[key]
        flight.land(copy)


def _passing(caller: Credential | None) -> tuple[type[Exception], ...]:
    """Failures that an old copy bridges. That the operator may not see what was public is about the operator."""
    return (TimeoutError, *PASSING) if caller is not None else (TimeoutError, *PASSING, Forbidden)


def _fresh_seconds(copy: Copy, lifetime: Lifetime) -> int:
    return (lifetime if copy.status == 200 else MISSING).fresh_seconds


def _put_off(copy: Copy, error: BaseException, now: float) -> None:
    stated = error.retry_after_seconds if isinstance(error, ServiceError) else None
    pause_seconds = stated or FIRST_RETRY_SECONDS * 2**copy.failures
    copy.failures += 1
    copy.retry_seconds = now + min(pause_seconds, LONGEST_RETRY_SECONDS)


def _shown_as(status: int) -> ServiceError:
    if status == 451:
        return UnavailableForLegalReasons("GitHub may not show this for legal reasons.")
    return NotFound("GitHub has no such thing, or does not show it.")

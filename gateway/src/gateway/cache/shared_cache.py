"""Answers from the cache, and one question at a time for what it lacks: who asks the same meanwhile waits for it."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import structlog

from gateway.admission import TooManyAtOnce
from gateway.cache.compression import Compression
from gateway.cache.encoding import IDENTITY, preferred_encoding
from gateway.cache.entry import Entry, Representation
from gateway.cache.flight import Fetched, Flight, Given, Question
from gateway.cache.policy import Lifetime, lifetime_of, updated
from gateway.cache.store import Store
from gateway.headers import Fields
from service_kit.errors import Overloaded, ServiceError, UpstreamFault

ENTRY_LIMIT_BYTES = 1024 * 1024
"""A larger body passes as a stream, and is not kept."""
RETRY_SECONDS = 1.0
"""For so long a stale answer is good enough after its renewal failed."""
UNKEEPABLE_SECONDS = 5.0
"""For so long nobody waits for the answer to another's question of which the last answer was not to be kept."""
UNKEEPABLE_LIMIT = 4096
_NONE = Lifetime(age=0, fresh=0, while_revalidated=0, if_error=0)
log = structlog.get_logger()


class SharedCache:
    """The store, and what is under way to fill it."""

    def __init__(self, limit_bytes: int, dress: Callable[[Fields], Fields]) -> None:
        """`dress` makes, of the headers that came, those that callers get. Needs a running loop."""
        self._dress = dress
        self.store = Store(limit_bytes)
        self.answered: Counter[str] = Counter()
        """Requests so far, by where their answer came from: `hit`, `stale`, `miss`, `collapsed` or `bypass`."""
        self._compression = Compression()
        self._flights: dict[tuple[str, str], Flight] = {}
        self._renewals: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._unkeepable: dict[str, float] = {}
        self._now = time.monotonic
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """End what is under way; whoever waits for it is told by its cancellation."""
        flights = tuple(self._flights.values())
        tasks = [*self._renewals.values(), *(flight.task for flight in flights if flight.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for flight in flights:
            if not flight.has_landed:  # its task was not even begun
                flight.failure = asyncio.CancelledError()
                self._land(flight)
        self._compression.close()

    def represent(self, target: str, entry: Entry, accept_encoding: str) -> Representation:
        """The bytes for a caller: as he likes them best, or uncompressed until those are made."""
        encoding = preferred_encoding(accept_encoding) if entry.is_compressible else IDENTITY
        made = entry.representations.get(encoding)
        if made is not None:
            return made
        plain = entry.representations[IDENTITY]
        self._compression.begin(
            id(entry), encoding, plain.body, lambda body: self.store.grow(target, entry, encoding, body)
        )
        return plain

    def renew_behind(self, question: Question, entry: Entry) -> None:
        """Have a stale entry renewed while it goes on being answered; nothing happens when that is under way.

        The answer is kept whatever the caller wants kept: it is not to his request.
        """
        key = (question.target, question.accept)
        if key in self._flights or key in self._renewals or self._now() < entry.retry_at:
            return
        question = question._replace(may_keep=True)

        async def renew() -> None:
            try:
                fetched = await self.fetch(question, entry)
                if fetched.given is not None:
                    fetched.given.close()
            except ServiceError as error:
                log.warning("cache.renewal_failed", error=error.detail)

        task = self._renewals[key] = asyncio.create_task(renew(), name="cache renewal")
        task.add_done_callback(lambda _: self._renewals.pop(key))

    def is_asked_for(self, target: str, accept: str) -> bool:
        """Whether somebody's question for it is under way."""
        return (target, accept) in self._flights

    def depart(self, target: str, accept: str) -> Flight:
        """A question that is asked elsewhere, for all who come while it is under way.

        It ends with `arrive` or `leave`, or is gone on with by `fetch`.
        """
        flight = Flight((target, accept))
        flight.is_led = True
        if self._unkeepable.get(target, 0.0) <= self._now():
            self._flights[flight.key] = flight
        return flight

    def arrive(self, flight: Flight, given: Given, delay_seconds: float) -> Fetched:
        """Take in what the flight has brought, which is all there and below 500; nothing is waited for."""
        target, accept = flight.key
        try:
            lifetime = self._lifetime_of(target, None, given, delay_seconds)
            if lifetime is None:
                flight.fetched = fetched = Fetched(given=given)
                flight.take()
            else:
                entry = Entry(given.status, self._dress(given.headers), given.take(), lifetime, self._now(), accept)
                flight.fetched = fetched = self._keep(target, entry)
        except Exception as error:
            flight.failure = error
            raise
        finally:
            self._land(flight)
        return fetched

    def leave(self, flight: Flight, question: Question) -> None:
        """Who departed has left: the question is gone on with if others wait for its answer, and else given up."""
        flight.is_led = False
        if flight.waiting:
            self._take_off(flight, question, None)
            return
        self._give_up(flight)
        if question.unasked is not None:
            question.unasked()

    async def fetch(self, question: Question, stale: Entry | None, flight: Flight | None = None) -> Fetched:
        """The answer to a question that the cache has none for, or a stale one.

        Who asks the same meanwhile waits for the same answer, its failure included; it is given up when nobody wants
        it any more. `flight` is that of `depart`, for who departed. Raises what `question.ask` raises, unless the stale
        entry may still be used.
        """
        is_collapsed = False
        if flight is not None:
            flight.is_led = False
            self._take_off(flight, question, stale)
        else:
            if not question.may_keep or self._unkeepable.get(question.target, 0.0) > self._now():
                return await self._ask(question, stale)
            key = (question.target, question.accept)
            flight = self._flights.get(key)
            is_collapsed = flight is not None
            if flight is None:
                flight = self._flights[key] = Flight(key)
                self._take_off(flight, question, stale)
        landed = self._loop.create_future()
        flight.waiting.append(landed)
        try:
            await landed
        except asyncio.CancelledError:
            flight.waiting.remove(landed)
            if not flight.wanted_by:
                self._give_up(flight)
            raise
        flight.waiting.remove(landed)
        failure, fetched = flight.failure, flight.fetched
        if failure is not None and not (is_collapsed and isinstance(failure, TooManyAtOnce)):
            raise failure
        if fetched is not None and (fetched.given is None or flight.take()):
            return fetched._replace(is_collapsed=True) if is_collapsed else fetched
        # It was for one alone, or refused to one. The others ask for themselves; who comes later does so at once.
        return await self._ask(question, stale)

    def _take_off(self, flight: Flight, question: Question, stale: Entry | None) -> None:
        """Ask in a task that is nobody's: who asked first may leave."""
        flight.task = self._loop.create_task(self._fly(flight, question, stale))
        if question.unasked is not None:
            unasked = question.unasked
            flight.task.add_done_callback(lambda _task: unasked())

    async def _fly(self, flight: Flight, question: Question, stale: Entry | None) -> None:
        try:
            flight.fetched = await self._ask(question, stale)
        except BaseException as error:
            flight.failure = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._land(flight)

    def _land(self, flight: Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        for landed in flight.waiting:
            if not landed.done():
                landed.set_result(None)

    def _give_up(self, flight: Flight) -> None:
        """Nobody waits any more."""
        if not flight.has_landed:
            if flight.task is not None:
                flight.task.cancel()
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
        elif flight.fetched is not None and flight.fetched.given is not None and flight.take():
            flight.fetched.given.close()

    async def _ask(self, question: Question, stale: Entry | None) -> Fetched:
        started = self._now()
        validator = [("If-None-Match", stale.etag)] if stale is not None and stale.etag else []
        try:
            given = await question.ask(validator)
            if given.status == 304 and stale is not None:
                if _is_confirmed(stale, given):
                    return self._confirm(question, stale, given, self._now() - started)
                given.close()
                given = await question.ask([])
            if given.status < 500:
                return await self._take_in(question, stale, given, self._now() - started)
            if stale is None or self._now() >= stale.error_until:
                return await self._share_failure(question, given)
            given.close()
        except (UpstreamFault, Overloaded):
            if stale is None or self._now() >= stale.error_until:
                raise
        stale.retry_at = self._now() + RETRY_SECONDS
        return Fetched(stale, is_stale=True)

    async def _take_in(self, question: Question, stale: Entry | None, given: Given, delay_seconds: float) -> Fetched:
        # A caller's wish to keep nothing says nothing of others' answers.
        lifetime = self._lifetime_of(question.target, stale, given, delay_seconds) if question.may_keep else None
        if lifetime is None:
            return Fetched(given=given)
        body = await _read(given)
        entry = Entry(given.status, self._dress(given.headers), body, lifetime, self._now(), question.accept)
        return self._keep(question.target, entry)

    def _lifetime_of(self, target: str, stale: Entry | None, given: Given, delay_seconds: float) -> Lifetime | None:
        """How long an answer may be kept; None where it may not be, which is then remembered."""
        lifetime = lifetime_of(given.status, given.headers, now=time.time(), delay_seconds=delay_seconds)
        if lifetime is None or given.content_length is None or given.content_length > ENTRY_LIMIT_BYTES:
            self._note_unkeepable(target, stale)
            return None
        return lifetime

    def _confirm(self, question: Question, stale: Entry, given: Given, delay_seconds: float) -> Fetched:
        """The stale entry holds still: the same bytes, with what the 304 says anew (RFC 9111, 4.3.4)."""
        given.close()
        headers = updated(stale.headers, self._dress(given.headers))
        lifetime = lifetime_of(stale.status, headers, now=time.time(), delay_seconds=delay_seconds)
        if lifetime is None:
            self._note_unkeepable(question.target, stale)
            return Fetched(stale)
        entry = Entry(
            stale.status, headers, stale.representations[IDENTITY].body, lifetime, self._now(), question.accept
        )
        for encoding, made in stale.representations.items():
            if encoding != IDENTITY:
                entry.add(encoding, made.body)
        return self._keep(question.target, entry)

    async def _share_failure(self, question: Question, given: Given) -> Fetched:
        """A 5xx for all who wait: asking again, they would only bring more upon a service that fails."""
        if given.content_length is None or given.content_length > ENTRY_LIMIT_BYTES:
            return Fetched(given=given)
        body = await _read(given)
        return Fetched(Entry(given.status, self._dress(given.headers), body, _NONE, self._now(), question.accept))

    def _keep(self, target: str, entry: Entry) -> Fetched:
        if entry.fresh_until <= self._now() < entry.revalidate_until:
            entry.retry_at = self._now() + RETRY_SECONDS  # nothing fresher is to be had: not without a pause
        self.store.put(target, entry)
        return Fetched(entry, is_stored=True)

    def _note_unkeepable(self, target: str, stale: Entry | None) -> None:
        if stale is not None:
            self.store.discard(target, stale)
        if len(self._unkeepable) >= UNKEEPABLE_LIMIT:
            self._unkeepable.clear()
        self._unkeepable[target] = self._now() + UNKEEPABLE_SECONDS


def _is_confirmed(stale: Entry, given: Given) -> bool:
    """Whether a 304 is about this entry: its tag was sent, and no other one came back (RFC 9111, 4.3.4)."""
    if not stale.etag:
        return False
    said = [value for name, value in given.headers if name.lower() == "etag"]
    return not said or stale.matches(said[0])


async def _read(given: Given) -> bytes:
    try:
        return await given.read(ENTRY_LIMIT_BYTES)
    finally:
        given.close()

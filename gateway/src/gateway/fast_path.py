"""Requests answered, or passed on, as soon as they are parsed: aiohttp makes no task, request and response of them.

The one module that uses what is private in aiohttp: it belongs to AIOHTTP_VERSION, which is pinned for it. Without it
(`GATEWAY_FAST_PATH=off`) every answer is the same, only dearer: one suite of tests is run against both.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from gateway.connections import Connection
from gateway.exchange import Exchange
from gateway.hits import Hits, Wanted
from gateway.known_requests import KnownRequests
from gateway.outbox import Outbox
from gateway.straight import Straight, StraightMiss

AIOHTTP_VERSION = "3.14.5"
_HEAD_END = b"\r\n\r\n"
log = structlog.get_logger()


class FastConnection(Connection):
    """A connection whose requests are taken at once while nothing else is under way on it.

    What cannot be answered at once is passed on straight (`straight`), and what cannot be that is left to `start`.
    """

    __slots__ = (
        "_exchange",
        "_hits",
        "_is_between_requests",
        "_is_left",
        "_known",
        "_miss",
        "_outbox",
        "_serve",
        "_straight",
    )

    def __init__(
        self,
        manager: web.Server,
        *,
        hits: Hits,
        known: KnownRequests,
        outbox: Outbox,
        straight: Straight,
        serve: Callable[[Exchange], Awaitable[None]],
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._hits = hits
        self._known = known
        self._outbox = outbox
        self._is_between_requests = True
        """Whether the parser has been given whole requests only, one at a time: so it knows nothing of the next one."""
        self._is_left = False
        """Whether the rest is aiohttp's: its `start` knows of messages only, so that nothing else may wake it."""
        self._straight = straight
        self._serve = serve
        self._exchange: Exchange | None = None
        """The request that is passed on straight, or that `start` is to take next."""
        self._miss: StraightMiss | None = None
        """What has been asked for it, until it is answered or `start` has taken it."""

    def connection_lost(self, exc: BaseException | None) -> None:
        miss, self._miss, self._exchange = self._miss, None, None
        if miss is not None:
            miss.leave()
        super().connection_lost(exc)

    def close(self) -> None:
        """End it after what is under way, for which `start` is still needed."""
        if self._exchange is None:
            super().close()
        else:
            self._close = True

    def _process_keepalive(self) -> None:
        """Leave it to `Connections.sweep`: to aiohttp a connection is idle whenever `start` waits."""
        self._keepalive_handle = None

    def data_received(self, data: bytes) -> None:
        """Parse, and take what can be taken now; `start` is woken for the rest."""
        waiter = self._waiter
        if waiter is None or waiter.done() or (self._messages and self._exchange is None):
            self._is_between_requests = False
            super().data_received(data)
            return
        is_between = self._is_between_requests and self._exchange is None
        if is_between:
            wanted = self._known.get((self.peer, data))
            if wanted is not None and self._can_answer() and self._answer(wanted):
                return
        self._waiter = None  # what is parsed now wakes nobody yet
        try:
            super().data_received(data)
            messages = self._messages
            self._is_between_requests = is_one = (
                is_between
                and data.find(_HEAD_END) == len(data) - len(_HEAD_END)
                and len(messages) == 1
                and messages[0][1] is EMPTY_PAYLOAD
            )
            if self._exchange is None:
                self._take_messages(data if is_one else b"")
        finally:
            self._waiter = waiter
        if self._messages or self._exchange is not None:
            self._wake(waiter)

    async def start(self) -> None:
        """As aiohttp's, without a task for each request; the first one that is not plain leaves the rest to aiohttp's.

        The task is for context variables; all that are set here are set anew by each request.
        """
        while not self._force_close:
            if self._buffer_paused and not self._messages:
                self._resume_reading_if_drained()  # the parser had more, and no room for it
            if not self._messages and self._exchange is None:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
                if self._close and self._exchange is None:
                    break
            exchange, self._exchange, self._miss = self._exchange, None, None
            if exchange is None:
                message, payload = self._messages[0]
                if (
                    type(message) is not RawRequestMessage
                    or payload is not EMPTY_PAYLOAD
                    or message.upgrade
                    or self._buffer_paused
                ):
                    self._is_left = True
                    await super().start()
                    return
                self._consume_first()
                exchange = self._begin(message)
            self._request_in_progress = True
            try:
                await self._serve(exchange)
            except BaseException:
                self.force_close()
                raise
            finally:
                self._end_progress()
            if not exchange.keeps_alive or self._close:
                break
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    def _take_messages(self, data: bytes = b"") -> None:
        """Take messages from the first on: answer them while they are hits, and have one passed on.

        `data` are the bytes of the only one, if there is but one.
        """
        messages = self._messages
        while True:
            while messages and self._can_answer() and self._take(data, *messages[0]):
                if self._exchange is not None:
                    return
            if messages or not self._buffer_paused:
                return
            self._resume_reading_if_drained()  # the parser had more, and no room for it

    def _can_answer(self) -> bool:
        transport = self.transport
        return (
            transport is not None
            and not transport.is_closing()
            and not (self.writing_paused or self._force_close or self._close)
            and self.stays
        )

    def _take(self, data: bytes, message: Any, payload: Any) -> bool:
        """Whether it is of the plainest kind, and taken; only for who `_can_answer`."""
        if (
            type(message) is not RawRequestMessage
            or payload is not EMPTY_PAYLOAD
            or message.should_close
            or message.upgrade
            or message.version != HttpVersion11
        ):
            return False
        wanted = self._hits.read(message.method, message.path, message.headers, self.peer)
        if wanted is not None and self._answer(wanted):
            self._consume_first()
            if data:
                self._known.remember(data, wanted)
            return True
        if self._is_left:
            return False
        self._consume_first()
        self._exchange = exchange = self._begin(message)
        self._miss = self._straight.begin(exchange, self._end_miss)
        self._request_in_progress = self._miss is not None
        return True

    def _answer(self, wanted: Wanted) -> bool:
        """Whether it was a hit, and is answered."""
        try:
            answer = self._hits.answer(wanted)
        except Exception:  # the long way meets it again, and reports it
            log.exception("fast_path.failed")
            return False
        if answer is None:
            return False
        assert self.transport is not None
        self.begin_request()
        self._outbox.write(self.transport, answer)
        self.end_request()
        return True

    def _consume_first(self) -> None:
        self._messages.popleft()
        assert self._parser is not None
        assert self._manager is not None
        self._parser.message_consumed()
        self._manager.requests_count += 1

    def _begin(self, message: RawRequestMessage) -> Exchange:
        return Exchange(
            self, message.method, message.path, message.headers, message.version, wants_more=not message.should_close
        )

    def _end_miss(self, miss: StraightMiss) -> None:
        """What was passed on straight is answered, or has to go the long way."""
        waiter = self._waiter
        if miss.is_answered:
            self._miss = self._exchange = None
            self._end_progress()
            self._close = self._close or not miss.exchange.keeps_alive
        if waiter is None:
            return  # a stop's grace is over, and `start` ended: the connection is lost next, and tells the miss so
        if miss.is_answered:
            self._waiter = None
            try:
                self._take_messages()
            finally:
                self._waiter = waiter
        if self._close or self._messages or self._exchange is not None:
            self._wake(waiter)

    def _wake(self, waiter: "asyncio.Future[None]") -> None:
        """Have `start` go on, unless what it is to wait for is under way."""
        is_under_way = self._miss is not None and not self._miss.goes_on
        if not is_under_way and not waiter.done():
            waiter.set_result(None)

    def _end_progress(self) -> None:
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)

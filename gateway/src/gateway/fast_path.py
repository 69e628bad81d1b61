"""Hits answered as soon as a request is parsed, before aiohttp makes a task, a request and a response of it.

The one module that uses what is private in aiohttp: it belongs to AIOHTTP_VERSION, which is pinned for it. Without it
(`GATEWAY_FAST_PATH=off`) every answer is the same, only dearer: one suite of tests is run against both.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from gateway.connections import Connection
from gateway.exchange import Exchange
from gateway.hits import Hits

AIOHTTP_VERSION = "3.14.5"
log = structlog.get_logger()


class FastConnection(Connection):
    """A connection whose requests are looked for in the cache while nothing else is under way on it."""

    __slots__ = ("_hits", "_serve")

    def __init__(
        self, manager: web.Server, *, hits: Hits, serve: Callable[[Exchange], Awaitable[None]], **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._hits = hits
        self._serve = serve

    def data_received(self, data: bytes) -> None:
        """Parse, answer what can be answered now, and wake aiohttp's own loop for the rest, from the first on."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._messages:
            super().data_received(data)
            return
        self._waiter = None  # what is parsed now wakes nobody yet
        try:
            super().data_received(data)
            while self._answer_hits() and self._buffer_paused:
                self._resume_reading_if_drained()  # the parser had more, and no room for it
        finally:
            self._waiter = waiter
        if self._messages and not waiter.done():
            waiter.set_result(None)

    async def start(self) -> None:
        """As aiohttp's, without a task for each request; the first one that is not plain leaves the rest to aiohttp's.

        The task is for context variables; all that are set here are set anew by each request.
        """
        while not self._force_close:
            if not self._messages:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            message, payload = self._messages[0]
            if (
                type(message) is not RawRequestMessage
                or payload is not EMPTY_PAYLOAD
                or message.upgrade
                or self._buffer_paused
            ):
                await super().start()
                return
            self._messages.popleft()
            if self._manager is None or self._parser is None:
                return  # the connection is lost
            self._parser.message_consumed()
            self._manager.requests_count += 1
            exchange = Exchange(
                self,
                message.method,
                message.path,
                message.headers,
                message.version,
                wants_more=not message.should_close,
            )
            self._request_in_progress = True
            try:
                await self._serve(exchange)
            except BaseException:
                self.force_close()
                raise
            finally:
                self._request_in_progress = False
                if self._handler_waiter is not None:
                    self._handler_waiter.set_result(None)
            if not exchange.keeps_alive or self._close:
                break
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    def _answer_hits(self) -> bool:
        """Answer from the first message on while they are hits; whether all were."""
        messages = self._messages
        while messages and self._answer(*messages[0]):
            messages.popleft()
            assert self._parser is not None
            self._parser.message_consumed()
        return not messages

    def _answer(self, message: Any, payload: Any) -> bool:
        """Whether it was a hit, and is answered."""
        transport = self.transport
        if (
            type(message) is not RawRequestMessage
            or payload is not EMPTY_PAYLOAD
            or message.should_close
            or message.upgrade
            or message.version != HttpVersion11
            or self.writing_paused
            or not self.stays
            or transport is None
            or transport.is_closing()
        ):
            return False
        try:
            answer = self._hits.answer(message.method, message.path, message.headers, self.peer)
        except Exception:  # the long way meets it again, and reports it
            log.exception("fast_path.failed")
            return False
        if answer is None:
            return False
        self.begin_request()
        transport.write(answer)
        self.end_request()
        assert self._manager is not None
        self._manager.requests_count += 1
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        return True

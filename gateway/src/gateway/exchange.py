"""One request under way: what is known of it, and the headers that every answer to it carries."""

import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web
from aiohttp.web_request import BaseRequest

from gateway.answer import Answer
from gateway.cors import ON_EVERY_ANSWER
from gateway.headers import SECURITY_HEADERS

UNMATCHED = "unmatched"


class Exchange:
    """A request, and what has to be known of it once it is over."""

    __slots__ = ("added", "on_close", "path", "query", "request", "request_id", "route", "source", "started")

    def __init__(self, request: BaseRequest, request_id: str) -> None:
        self.request = request
        self.request_id = request_id
        self.path, _, self.query = request.raw_path.partition("?")
        self.route = UNMATCHED
        self.source = ""
        """The caller's address, then the trusted proxies it came through; known once the request is charged."""
        self.started = time.monotonic()
        self.added = ""
        """Header lines that the answer is to have whatever it is."""
        self.on_close: Callable[[], None] | None = None

    def answer(self, status: int, headers: Iterable[tuple[str, str]], body: bytes = b"") -> Answer:
        """An answer of the gateway's own."""
        headers = list(headers)
        own = (("Server", "wegit"), ("Date", _http_date(int(time.time()))), ("X-Request-Id", self.request_id))
        return Answer(status, [*headers, *own, *ON_EVERY_ANSWER, *_security(headers)], body, lines=self.added)

    def problem(self, response: web.Response) -> Answer:
        """An answer of the gateway's own, from what errors are mapped to."""
        assert isinstance(response.body, bytes)
        return self.answer(response.status, response.headers.items(), response.body)

    def close(self) -> None:
        """Leave nothing open behind it."""
        if self.on_close is not None:
            self.on_close()


def _security(headers: list[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Those that an answer does not have of its own already."""
    named = {name for name, _ in headers}
    return (field for field in SECURITY_HEADERS if field[0] not in named)


@lru_cache(maxsize=2)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)

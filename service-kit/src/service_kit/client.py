"""The shared client: a session whose middlewares log each try, retry within a budget and make bad statuses errors."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import aiohttp
import structlog
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from multidict import CIMultiDictProxy

from service_kit.errors import UpstreamFault, UpstreamStatus, UpstreamTimeout, UpstreamUnreachable
from service_kit.metrics import Metrics
from service_kit.retry import RetryBudget, pause_seconds

CONNECT_TIMEOUT_SECONDS = 5.0
CONNECTION_LIMIT = 100
ERROR_BODY_LIMIT_BYTES = 64 * 1024
LOGGED_BODY_LIMIT_BYTES = 500
RETRIED_STATUSES = frozenset({502, 503, 504})
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
_path_is_secret: ContextVar[bool] = ContextVar("path_is_secret", default=False)
log = structlog.get_logger()


class Reply:
    """A complete answer of an upstream with a status below 400."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: CIMultiDictProxy[str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def open_session(
    metrics: Metrics,
    *,
    tries: int = 1,
    checked: bool = True,
    path_is_secret: bool = False,
    decompress: bool = True,
    connector: aiohttp.TCPConnector | None = None,
    called: str | None = None,
) -> aiohttp.ClientSession:
    """A session with the shared middlewares: `check_status` outermost (if `checked`), retry, log nearest the wire.

    `tries` is the most tries of a GET that fails quickly; `path_is_secret` has only the host logged (webhooks);
    without `decompress` bodies stay as they came; `connector` connects in its own way; `called` is what metrics call
    every host, where others choose the hosts and could make any number of series. Cookies are neither kept nor sent.
    Deadlines are the call's: `fetch`.
    """
    middlewares: list[aiohttp.ClientMiddlewareType] = [check_status] if checked else []
    if tries > 1:
        middlewares.append(retry_failed(tries, RetryBudget()))
    middlewares.append(log_request(metrics, path_is_secret=path_is_secret, called=called))
    return aiohttp.ClientSession(
        connector=connector or aiohttp.TCPConnector(limit=CONNECTION_LIMIT),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
        middlewares=tuple(middlewares),
        auto_decompress=decompress,
    )


async def fetch(
    session: aiohttp.ClientSession,
    method: str,
    url: aiohttp.typedefs.StrOrURL,
    *,
    timeout_seconds: float,
    body_limit_bytes: int,
    headers: Mapping[str, str] | None = None,
    json: object = None,
    log_body: bool = True,
) -> Reply:
    """Make one call and read the whole answer, all tries and the body within `timeout_seconds`; redirects come back.

    Raises UpstreamStatus (400 and more), UpstreamUnreachable, UpstreamTimeout, or UpstreamFault for a body that is
    cut, broken or larger than the limit (counted after decompression). Without `log_body` no log shows it.
    """
    with deadline(timeout_seconds) as end:
        async with session.request(method, url, headers=headers, json=json, allow_redirects=False) as response:
            body = await read_body(response, body_limit_bytes, end, log_body=log_body)
            return Reply(response.status, response.headers, body)


@contextmanager
def deadline(timeout_seconds: float) -> Iterator[float]:
    """All calls made inside, all their tries, raise UpstreamTimeout once this is over; gives its end (loop time)."""
    end = asyncio.get_running_loop().time() + timeout_seconds
    token = _deadline.set(end)
    try:
        yield end
    finally:
        _deadline.reset(token)


async def read_body(
    response: ClientResponse, limit_bytes: int, end: float | None = None, *, log_body: bool = True
) -> bytes:
    """Read a whole body of at most `limit_bytes`, until `end` (loop time).

    Raises UpstreamTimeout or UpstreamFault.
    """
    chunks = bytearray()
    try:
        async with asyncio.timeout_at(end):
            async for chunk in response.content.iter_any():
                chunks += chunk
                if len(chunks) > limit_bytes:
                    response.close()
                    raise UpstreamFault(f"The upstream's answer is larger than {limit_bytes} bytes.")
    except TimeoutError:
        response.close()
        raise UpstreamTimeout("The upstream's answer did not end in time.") from None
    except aiohttp.ClientError as error:
        log.warning("upstream.body_broken", host=response.url.host, error=repr(error))
        raise UpstreamFault("The upstream's answer broke off.") from error
    body = bytes(chunks)
    # Who has a secret path may quote it.
    shown = {} if _path_is_secret.get() or not log_body else {"body": _cut(body)}
    log.debug("upstream.body_read", host=response.url.host, bytes=len(body), **shown)
    return body


async def check_status(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Raise UpstreamStatus, with the headers and the body's beginning, for every status of 400 and more."""
    response = await handler(request)
    if response.status < 400:
        return response
    try:
        body = await read_body(response, ERROR_BODY_LIMIT_BYTES, _deadline.get())
    except UpstreamFault:
        body = b""  # the status says enough
    raise UpstreamStatus(response.status, response.headers, body)


def retry_failed(tries: int, budget: RetryBudget) -> aiohttp.ClientMiddlewareType:
    """Try a GET again that found no connection or got 502, 503 or 504 without Retry-After, while the budget lasts."""

    async def retry(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        budget.note_call()
        for made in range(1, tries + 1):
            _try_number.set(made)
            last = made == tries or request.method != "GET"
            try:
                response = await handler(request)
            except UpstreamUnreachable:
                if last or not budget.spend():
                    raise
            else:
                passing = response.status in RETRIED_STATUSES and "Retry-After" not in response.headers
                if last or not passing or not budget.spend():
                    return response
                response.release()
            await _sleep_within_deadline(pause_seconds(made))
        raise AssertionError("the last try returns or raises")

    return retry


_try_number: ContextVar[int] = ContextVar("try_number", default=1)


async def _sleep_within_deadline(seconds: float) -> None:
    end = _deadline.get()
    if end is not None and asyncio.get_running_loop().time() + seconds >= end:
        raise UpstreamTimeout("The upstream did not answer in time.")
    await asyncio.sleep(seconds)


def log_request(metrics: Metrics, *, path_is_secret: bool, called: str | None = None) -> aiohttp.ClientMiddlewareType:
    """Log every try and its answer, and give the failures of a connection their types.

    Raises UpstreamUnreachable (refused, reset, unknown name), UpstreamTimeout, UpstreamFault (no HTTP).
    """

    async def log_try(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        started = time.perf_counter()
        _path_is_secret.set(path_is_secret)
        host = request.url.host or ""
        facts = {"method": request.method, "host": host, "try": _try_number.get()}
        if not path_is_secret:
            facts["path"] = request.url.raw_path
        outcome = "cancelled"
        try:
            async with asyncio.timeout_at(_deadline.get()):
                response = await handler(request)
            outcome = str(response.status)
            level = "debug" if request.url.raw_path.endswith("/health/live") else "info"
            getattr(log, level)("upstream.answered", **facts, status=response.status, duration_ms=_since(started))
            return response
        except TimeoutError as error:
            outcome = "timeout"
            raise UpstreamTimeout("The upstream did not answer in time.") from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            outcome = _name(error)
            raise UpstreamUnreachable("The upstream cannot be reached.") from error
        except aiohttp.ClientError as error:
            outcome = _name(error)
            raise UpstreamFault("The upstream's answer is not HTTP.") from error
        finally:
            if not outcome.isdigit():
                log.warning("upstream.failed", **facts, error=outcome, duration_ms=_since(started))
            metrics.observe_upstream(called or host, outcome, time.perf_counter() - started)

    return log_try


def _name(error: BaseException) -> str:
    # The class alone: the text of a connection error can hold the URL.
    cause = getattr(error, "os_error", None)
    return type(cause or error).__name__


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 2)


def _cut(body: bytes) -> str:
    return body[:LOGGED_BODY_LIMIT_BYTES].decode("utf-8", "replace")

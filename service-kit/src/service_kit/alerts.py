"""Alerts: one row per distinct unexpected exception and minute, with a count, or per incident; nobody waits for it."""

import asyncio
import hashlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import structlog
from aiohttp import web

from service_kit.errors import ServiceError
from service_kit.metrics import METRICS, Metrics
from service_kit.redaction import redact
from service_kit.tasks import running

BUFFER_LIMIT = 100
FLUSH_INTERVAL_SECONDS = 1.0
LAST_FLUSH_SECONDS = 2.0
TRACEBACK_LIMIT_CHARACTERS = 4000
log = structlog.get_logger()


class Alert(msgspec.Struct, forbid_unknown_fields=True):
    """One distinct error within one minute (UTC, `2026-11-23T10:07Z`), or an incident; every text is redacted."""

    service: str
    error: str
    """The exception's class, or what kind of incident it is."""
    where: str
    """`file:line in function` where it was raised, or what the incident befell."""
    message: str
    traceback: str
    minute: str
    occurrences: int = 1
    incident: str = ""
    """What alerts have in common that are one, whichever service and minute they come from; empty for exceptions."""

    @property
    def dedup_key(self) -> str:
        """The same for the same incident, or the same error in the same minute, whichever replica saw it."""
        identity = self.incident or f"{self.service}|{self.error}|{self.where}|{self.minute}"
        return f"alert:{hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()}"


Deliver = Callable[[Alert], Awaitable[None]]
"""Hands one alert on; raises when it cannot."""


class Alerts:
    """A bounded buffer of alerts yet to be handed on. When it is full, new distinct ones are counted and lost."""

    def __init__(self, service: str, deliver: Deliver, metrics: Metrics) -> None:
        self._service = service
        self._deliver = deliver
        self._metrics = metrics
        self._waiting: dict[str, Alert] = {}
        self._arrived = asyncio.Event()

    def report(self, error: BaseException) -> None:
        """Note an unexpected exception. Never blocks and never raises."""
        self._note(describe(self._service, error, datetime.now(UTC)))

    def report_incident(self, incident: str, *, kind: str, where: str, message: str) -> None:
        """Note something that is no exception; however often and by whom, `incident` is told once. Never blocks."""
        minute = _minute(datetime.now(UTC))
        self._note(Alert(self._service, kind, where, storable(message)[:500], "", minute, incident=incident))

    def _note(self, alert: Alert) -> None:
        known = self._waiting.get(alert.dedup_key)
        if known is not None:
            known.occurrences += 1
        elif len(self._waiting) >= BUFFER_LIMIT:
            self._metrics.alerts_dropped.inc()
        else:
            self._waiting[alert.dedup_key] = alert
            self._arrived.set()

    async def hand_on(self) -> None:
        """Hand alerts on for ever, at most one batch a second; what cannot be handed on is kept."""
        while True:
            await self._arrived.wait()
            await self.flush()
            await asyncio.sleep(FLUSH_INTERVAL_SECONDS)

    async def flush(self) -> None:
        """Try each waiting alert once."""
        self._arrived.clear()
        for key in list(self._waiting):
            # Taken out while it is on its way: what happens meanwhile counts into a new one.
            alert = self._waiting.pop(key)
            try:
                await self._deliver(alert)
            except BaseException as error:
                later = self._waiting.get(key)
                if later is not None:
                    later.occurrences += alert.occurrences
                else:
                    self._waiting[key] = alert
                self._arrived.set()
                if not isinstance(error, Exception):
                    raise
                log.warning("alert.kept", waiting=len(self._waiting), error=repr(error))
                if isinstance(error, ServiceError):
                    return  # whoever takes alerts is away: the others wait as well


def describe(service: str, error: BaseException, now: datetime) -> Alert:
    """The alert for an exception; `now` is aware."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno} in {frames[-1].name}" if frames else "?"
    lines = "".join(traceback.format_exception(error))
    return Alert(
        service=service,
        error=type(error).__qualname__,
        where=where,
        message=storable(str(error))[:500],
        traceback=storable(lines)[-TRACEBACK_LIMIT_CHARACTERS:],
        minute=_minute(now),
    )


def _minute(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def storable(text: str) -> str:
    """Redacted, and without what Postgres does not take: NUL, and halves of characters."""
    whole = text.encode(errors="replace").decode()
    return redact(whole).replace("\0", "\N{REPLACEMENT CHARACTER}")


ALERTS = web.AppKey("alerts", Alerts)


def alerts(
    service: str, deliver: Callable[[web.Application], Deliver]
) -> Callable[[web.Application], AsyncIterator[None]]:
    """A cleanup context: `app[ALERTS]` takes reports while it is open; what then waits gets a last try."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        app[ALERTS] = buffer = Alerts(service, deliver(app), app[METRICS])
        async with running("alerts", buffer.hand_on):
            yield
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_FLUSH_SECONDS):
                await buffer.flush()

    return context

"""Logging: structlog for our events and the standard library's alike, JSON or console, redacted last of all."""

import logging
import sys
from types import TracebackType
from typing import Any, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from service_kit.redaction import redact
from service_kit.request_id import current_request_id

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logging(
    service: str,
    *,
    level: str = "info",
    log_format: Literal["json", "console"] = "json",
    output: TextIO | None = None,
) -> None:
    """Send every event, ours and those of the standard-library loggers, to `output`, one redacted line each.

    Without `output` that is standard output. Times are UTC, ISO 8601. The redaction works on the rendered line, so that
    nothing reaches the output around it.
    """
    output = output or sys.stdout

    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    render: Any
    if log_format == "json":
        render = structlog.processors.JSONRenderer(serializer=_dump)
    else:
        render = structlog.dev.ConsoleRenderer(
            colors=output.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    processors: list[Any] = [
        add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
    ]
    if log_format == "json":
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, render, _redact_line],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.BytesLoggerFactory(output.buffer),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [StandardLibraryEvents()]
    # The libraries' own debug output names every socket event: information from there is enough.
    root.setLevel(max(_LEVELS[level], logging.INFO))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


def add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say which request an event belongs to, where it belongs to one."""
    request_id = current_request_id()
    if request_id is not None:
        event["request_id"] = request_id
    return event


class StandardLibraryEvents(logging.Handler):
    """Hands records of the standard-library loggers (aiohttp.server, asyncio, aiopg, warnings) to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong format string must not lose the event
            message = f"{record.msg} {record.args}"
        structlog.get_logger().log(record.levelno, message, logger=record.name, exc_info=record.exc_info or None)


def _dump(event: Any, **_options: Any) -> bytes:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS)


def _redact_line(_logger: WrappedLogger, _method: str, line: Any) -> bytes:
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    return redact(text).encode("utf-8", "replace")


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    structlog.get_logger().critical("process.crashed", exc_info=(kind, error, traceback))

"""What a command works with: settings, database, and the exit status of what goes wrong."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog
import typer

from notifier_service.channels import Means
from notifier_service.inspection import Inspection
from notifier_service.settings import NotifierSettings
from notifier_service.steering import Steering
from notifier_service.subscriptions import Subscriptions, open_subscriptions
from service_kit.database import Database
from service_kit.errors import InvalidParameter, ServiceError, UnprocessableParameter
from service_kit.logging import configure_logging
from service_kit.metrics import Metrics
from service_kit.settings import load_settings

T = TypeVar("T")
FAILED, USAGE = 1, 2


class Connected:
    """A command's way to the queue."""

    def __init__(self, settings: NotifierSettings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.inspection = Inspection(database)
        self.steering = Steering(database)

    @asynccontextmanager
    async def subscriptions(self) -> AsyncIterator[Subscriptions]:
        """The operator's subscriptions."""
        async with open_subscriptions(Means(self.settings, self.database, Metrics())) as opened:
            yield opened


def run(work: Callable[[Connected], Awaitable[T]]) -> T:
    """What `work` gives. Raises SystemExit: status 1 when it fails, 2 when a value that was given is wrong."""
    settings = load_settings(NotifierSettings)
    configure_logging("notifier", level="error", log_format="console", output=sys.stderr)

    async def connected() -> T:
        database = Database(settings.database_url, "notifier-cli")
        await database.open()
        try:
            return await work(Connected(settings, database))
        finally:
            await database.close()

    try:
        return asyncio.run(connected())
    except (InvalidParameter, UnprocessableParameter) as error:
        near = ", ".join(error.members.get("nearest") or ())
        raise fail(
            f"{error.members['parameter']} {error.detail}" + (f" Near: {near}." if near else ""), USAGE
        ) from None
    except ServiceError as error:
        raise fail(error.detail) from None


def fail(reason: str, status: int = FAILED) -> typer.Exit:
    """The error to raise: one line on standard error, and the status."""
    structlog.reset_defaults()
    typer.echo(f"notifier: {reason}", err=True)
    return typer.Exit(status)

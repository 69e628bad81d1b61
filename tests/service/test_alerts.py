"""Alerts: one per distinct error and minute, bounded, kept while they cannot be handed on."""

import asyncio
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from service_kit import alerts as alerts_module
from service_kit.alerts import BUFFER_LIMIT, Alert, Alerts, alerts, describe
from service_kit.app import create_app
from service_kit.errors import Unavailable
from service_kit.metrics import Metrics

NOW = datetime(2026, 11, 23, 10, 7, 59, tzinfo=UTC)


def failure(message: str = "no luck") -> Exception:
    try:
        raise RuntimeError(message)
    except RuntimeError as error:
        return error


def failures_of_distinct_kinds(count: int) -> list[Exception]:
    return [type(f"Failure{number}", (Exception,), {})() for number in range(count)]


class Delivery:
    """Takes alerts, or refuses them while it is away."""

    def __init__(self) -> None:
        self.taken: list[Alert] = []
        self.away = False
        self.poison = ""

    async def __call__(self, alert: Alert) -> None:
        if self.away:
            raise Unavailable("away")
        if alert.error == self.poison:
            raise ValueError("cannot be stored")
        self.taken.append(alert)


def test_an_alert_says_what_and_where_and_no_secret() -> None:
    alert = describe("repo-service", failure("bad token=S3cret"), NOW)
    assert (alert.service, alert.error, alert.minute) == ("repo-service", "RuntimeError", "2026-11-23T10:07Z")
    assert alert.where.startswith("test_alerts.py:")
    assert alert.where.endswith("in failure")
    assert "S3cret" not in f"{alert}"


def test_the_same_error_in_the_same_minute_has_one_key() -> None:
    first, second = (describe("s", failure(message), NOW) for message in ("id 1", "id 2"))
    later = describe("s", failure("id 1"), NOW.replace(minute=8))
    assert first.dedup_key == second.dedup_key != later.dedup_key


async def test_an_incident_has_one_key_whoever_tells_of_it() -> None:
    delivery = Delivery()
    for service in ("repo-service", "developer-service"):
        alerts = Alerts(service, delivery, Metrics())
        alerts.report_incident("page 2026-11-23", kind="PageChanged", where="repositories", message="no token=S3cret")
        alerts.report_incident("page 2026-11-23", kind="PageChanged", where="repositories", message="still")
        await alerts.flush()
    first, second = delivery.taken
    assert first.dedup_key == second.dedup_key != describe("s", failure(), NOW).dedup_key
    assert (first.error, first.where, first.occurrences) == ("PageChanged", "repositories", 2)
    assert "S3cret" not in first.message


async def test_repeated_errors_are_counted_into_one_alert() -> None:
    delivery = Delivery()
    buffer = Alerts("s", delivery, Metrics())
    for _ in range(50):
        buffer.report(failure())
    await buffer.flush()
    assert sum(alert.occurrences for alert in delivery.taken) == 50
    assert len({alert.dedup_key for alert in delivery.taken}) == len(delivery.taken)


async def test_alerts_are_kept_while_they_cannot_be_handed_on() -> None:
    delivery = Delivery()
    delivery.away = True
    buffer = Alerts("s", delivery, Metrics())
    buffer.report(failures_of_distinct_kinds(1)[0])
    await buffer.flush()
    delivery.away = False
    await buffer.flush()
    await buffer.flush()
    assert [alert.occurrences for alert in delivery.taken] == [1]


async def test_an_alert_that_cannot_be_stored_does_not_keep_back_the_others() -> None:
    delivery = Delivery()
    delivery.poison = "Failure0"
    buffer = Alerts("s", delivery, Metrics())
    for error in failures_of_distinct_kinds(3):
        buffer.report(error)
    await buffer.flush()
    assert [alert.error for alert in delivery.taken] == ["Failure1", "Failure2"]


def test_nothing_is_left_that_cannot_be_stored() -> None:
    alert = describe("s", failure("a\0b, half a character: \ud83d"), NOW)
    assert "\0" not in alert.message + alert.traceback
    assert "half a character: ?" in (alert.message + alert.traceback).encode().decode()


async def test_the_buffer_is_bounded_and_counts_what_it_loses() -> None:
    metrics = Metrics()
    delivery = Delivery()
    buffer = Alerts("s", delivery, metrics)
    for error in failures_of_distinct_kinds(BUFFER_LIMIT + 7):
        buffer.report(error)
    await buffer.flush()
    assert len(delivery.taken) == BUFFER_LIMIT
    assert metrics.registry.get_sample_value("alerts_dropped_total") == 7


async def test_an_unexpected_exception_in_a_handler_is_handed_on_without_delaying_the_answer(
    monkeypatch: object,
) -> None:
    asked = asyncio.Event()
    never = asyncio.Event()

    async def hang(_alert: Alert) -> None:
        asked.set()
        await never.wait()

    async def fail(_request: web.Request) -> web.Response:
        raise RuntimeError("no luck")

    app = create_app()
    app.router.add_get("/fail", fail)
    app.cleanup_ctx.append(alerts("s", lambda _app: hang))
    async with asyncio.timeout(alerts_module.LAST_FLUSH_SECONDS + 5):
        async with TestClient(TestServer(app)) as client:
            response = await client.get("/fail")
            await asked.wait()
    assert response.status == 500

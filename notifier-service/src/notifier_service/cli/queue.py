"""Commands for the queue: stats, ls, show, retry, cancel, pause, resume, workers, send-test."""

import asyncio
import time
from typing import Annotated, Any

import msgspec
import typer

from notifier_service.cli.connection import USAGE, Connected, fail, run
from notifier_service.cli.output import Json, duration, write_json, write_members, write_table
from notifier_service.inspection import STATES, WholeNotification
from notifier_service.steering import Pausable

Id = Annotated[int, typer.Argument(help="The notification's id, as `notifier ls` shows it.", min=1)]
Page = Annotated[int, typer.Option(help="From 1; 30 a page, the newest first.", min=1, max=10_000)]
TEST_TIMEOUT_SECONDS = 30.0
FINAL = {"delivered", "skipped", "expired", "cancelled", "dead", "replayed"}


def add_commands(cli: typer.Typer) -> None:
    """Give the application these commands."""
    for name, command in (
        ("stats", stats), ("ls", ls), ("show", show), ("retry", retry), ("cancel", cancel), ("pause", pause),
        ("resume", resume), ("workers", workers), ("send-test", send_test),
    ):  # fmt: skip
        cli.command(name)(command)


def stats(json: Json = False) -> None:
    """How the queue stands, and how the newest tries ended."""
    found = run(lambda to: to.inspection.stats())
    if json:
        write_json(found)
        return
    write_table(
        ("CHANNEL", "DUE>", "LATER>", "SENDING>", "HELD>", "DEAD>", "OLDEST DUE>", "PAUSED"),
        [
            (
                one.name, one.due, one.later, one.sending, one.held, one.dead, duration(one.oldest_due_seconds),
                one.paused,
            )
            for one in found.channels
        ],
        empty="Nothing waits, nothing is dead.",
    )  # fmt: skip
    typer.echo()
    write_table(
        ("CHANNEL", "OUTCOME", "OF THE NEWEST 10,000 TRIES>", "MEDIAN>"),
        [
            (one.channel, one.outcome, one.count, None if one.median_ms is None else f"{one.median_ms} ms")
            for one in found.newest_tries
        ],
        empty="Nothing was tried yet.",
    )
    typer.echo()
    rest = msgspec.structs.asdict(found)
    write_members((name.replace("_", " "), value) for name, value in rest.items() if isinstance(value, int))


def ls(
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")] = None,
    topic: Annotated[str | None, typer.Option(help="As alert or trending.entered.")] = None,
    endpoint: Annotated[int | None, typer.Option(help="An endpoint's id.")] = None,
    page: Page = 1,
    json: Json = False,
) -> None:
    """Notifications: what waits, was delivered, is dead."""
    if state is not None and state not in STATES:
        raise fail(f"--state should be one of {', '.join(STATES)}.", USAGE)
    found, has_more = run(
        lambda to: to.inspection.notifications(page=page, state=state, topic=topic, endpoint=endpoint)
    )
    if json:
        write_json(found)
        return
    write_table(
        ("ID>", "STATE", "TOPIC", "SUBJECT", "CHANNEL", "TO", "TRIES>", "CREATED", "SENT AT", "ERROR"),
        [
            (
                one.id, one.state, one.topic, one.subject, one.channel, one.address or f"endpoint {one.endpoint_id}",
                one.attempt, one.created_at, one.ended_at or one.run_at, one.error,
            )
            for one in found
        ],
        empty="There are none.",
    )  # fmt: skip
    if has_more:
        typer.echo(f"more: --page {page + 1}")


def show(id: Id, json: Json = False) -> None:
    """One notification with its message and its tries."""
    _write_whole(run(lambda to: to.inspection.notification(id)), json=json)


def retry(id: Id, json: Json = False) -> None:
    """Send a waiting notification now, or a dead one again."""

    async def work(to: Connected) -> WholeNotification:
        return await to.inspection.notification(await to.steering.retry(id))

    _write_whole(run(work), json=json)


def cancel(id: Id, json: Json = False) -> None:
    """Send a waiting notification never."""
    run(lambda to: to.steering.cancel(id))
    _write_whole(run(lambda to: to.inspection.notification(id)), json=json)


def pause(
    kind: Pausable,
    name: Annotated[str, typer.Argument(help="A name; the id of an endpoint or a template.")],
    json: Json = False,
) -> None:
    """Stop a channel, an endpoint, a schedule or a WeChat template: what waits for it waits on."""
    _pause(kind, name, paused=True, json=json)


def resume(
    kind: Pausable,
    name: Annotated[str, typer.Argument(help="A name; the id of an endpoint or a template.")],
    json: Json = False,
) -> None:
    """Let it go on."""
    _pause(kind, name, paused=False, json=json)


def workers(json: Json = False) -> None:
    """The processes that deliver."""
    found = run(lambda to: to.inspection.workers())
    if json:
        write_json(found)
        return
    write_table(
        ("ID>", "HOST", "PID>", "VERSION", "STARTED", "SEEN", "SENDING>", "DRAINING"),
        [
            (
                one.id, one.host, one.pid, one.version, one.started_at, f"{duration(one.seen_seconds_ago)} ago",
                one.sending, one.draining,
            )
            for one in found
        ],
        empty="No worker runs.",
    )  # fmt: skip


def send_test(
    endpoint: Annotated[int, typer.Argument(help="The endpoint's id, as `notifier subscriptions ls` shows it.", min=1)],
    json: Json = False,
) -> None:
    """Send a test message to an endpoint and wait up to 30 s for what becomes of it."""

    async def work(to: Connected) -> WholeNotification:
        id_ = await to.steering.send_test(endpoint)
        deadline = time.monotonic() + TEST_TIMEOUT_SECONDS
        whole = await to.inspection.notification(id_)
        while whole.notification.state not in FINAL and not whole.tries and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
            whole = await to.inspection.notification(id_)
        return whole

    whole = run(work)
    _write_whole(whole, json=json)
    if whole.notification.state != "delivered":
        raise fail(f"the test message is {whole.notification.state}, not delivered")


def _pause(kind: Pausable, name: str, *, paused: bool, json: bool) -> None:
    if kind is Pausable.ENDPOINT and not (name.isascii() and name.isdigit() and len(name) < 19):
        raise fail("an endpoint is named by its id, a whole number", USAGE)
    run(lambda to: to.steering.pause(kind, name, paused=paused))
    if json:
        write_json({"kind": kind.value, "name": name, "paused": paused})
    else:
        typer.echo(f"{kind.value} {name} is {'paused' if paused else 'resumed'}")


def _write_whole(whole: WholeNotification, *, json: bool) -> None:
    if json:
        write_json(whole)
        return
    members: dict[str, Any] = {
        **msgspec.structs.asdict(whole.notification),
        "idempotency_key": whole.idempotency_key,
        "occurrences": whole.occurrences,
        "expires_at": whole.expires_at,
    }
    write_members((name.replace("_", " "), value) for name, value in members.items())
    if whole.body is not None:
        typer.echo()
        typer.echo(msgspec.json.format(msgspec.json.encode(whole.body), indent=2).decode())
    typer.echo()
    write_table(
        ("TRY>", "ENDED", "OUTCOME", "HTTP>", "TOOK>", "WORKER>", "ERROR"),
        [
            (
                one.attempt, one.at, one.outcome, one.http_status,
                None if one.duration_ms is None else f"{one.duration_ms} ms", one.worker, one.error,
            )
            for one in whole.tries
        ],
        empty="Not tried yet.",
    )  # fmt: skip

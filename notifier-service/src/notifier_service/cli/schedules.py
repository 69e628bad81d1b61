"""Commands for schedules: ls, add, rm."""

from typing import Annotated, Any

import msgspec
import typer

from notifier_service.cli.connection import USAGE, fail, run
from notifier_service.cli.output import Json, write_json, write_table
from notifier_service.inspection import ScheduleState

cli = typer.Typer(help="Schedules: what is enqueued again and again.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The schedule's name.")]


@cli.command("ls")
def list_(json: Json = False) -> None:
    """All of them, by name. `pause schedule NAME` stops one for a while."""
    _write(run(lambda to: to.inspection.schedules()), json=json)


@cli.command()
def add(
    name: Name,
    cron: Annotated[str, typer.Argument(help='Five fields of cron, as "0 9 * * mon".')],
    topic: Annotated[str, typer.Argument(help="The message's topic: its subscribers are told.")],
    body: Annotated[str, typer.Argument(help="The message's body, a JSON object.")],
    time_zone: Annotated[str, typer.Option(help="What cron's hours mean.")] = "UTC",
    json: Json = False,
) -> None:
    """Enqueue a message at each tick; of ticks that are missed one is made up for."""
    try:
        content = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise fail(f"the body is no JSON object: {error}", USAGE) from None
    run(lambda to: to.steering.add_schedule(name, cron, time_zone, topic, content))
    _write([one for one in run(lambda to: to.inspection.schedules()) if one.name == name], json=json)


@cli.command("rm")
def remove(name: Name, json: Json = False) -> None:
    """Enqueue it no more; what was enqueued already goes on."""
    run(lambda to: to.steering.remove_schedule(name))
    if json:
        write_json({"name": name, "removed": True})
    else:
        typer.echo(f"schedule {name} is removed")


def _write(found: list[ScheduleState], *, json: bool) -> None:
    if json:
        write_json(found)
        return
    write_table(
        ("NAME", "CRON", "TIME ZONE", "TOPIC", "NEXT", "PAUSED"),
        [(one.name, one.cron, one.time_zone, one.topic, one.next_at, one.paused) for one in found],
        empty="There is no schedule.",
    )

"""The application `notifier`, put together."""

import typer

from notifier_service.cli import dead, doctor, queue, schedules, subscriptions

cli = typer.Typer(
    name="notifier",
    help="The notification queue: what waits, what was delivered, what is dead, and who is told of what."
    " Settings come from the environment, as the service's: DATABASE_URL, SECRET_KEY, …"
    " Exit status: 0, 1 when something failed, 2 for wrong usage.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
queue.add_commands(cli)
cli.add_typer(dead.cli, name="dead")
cli.add_typer(schedules.cli, name="schedules")
cli.add_typer(subscriptions.cli, name="subscriptions")
cli.command("doctor")(doctor.doctor)

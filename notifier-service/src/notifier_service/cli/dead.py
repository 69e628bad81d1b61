"""Commands for dead letters: ls, replay, purge."""

from collections.abc import AsyncIterator
from typing import Annotated

import typer

from notifier_service.cli.connection import USAGE, Connected, fail, run
from notifier_service.cli.output import Json, progress, write_json
from notifier_service.cli.queue import Page, ls
from notifier_service.steering import Dead

cli = typer.Typer(help="Dead letters: what was given up.", no_args_is_help=True)
Ids = Annotated[list[int] | None, typer.Argument(help="Notifications' ids; none: all that the options name.")]
Channel = Annotated[str | None, typer.Option(help="Only of this channel.")]
Endpoint = Annotated[int | None, typer.Option(help="Only of this endpoint.")]
Topic = Annotated[str | None, typer.Option(help="Only of this topic.")]
All = Annotated[bool, typer.Option("--all", help="All there are.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@cli.command("ls")
def list_(topic: Topic = None, endpoint: Endpoint = None, page: Page = 1, json: Json = False) -> None:
    """Dead letters that were not replayed, the newest first."""
    ls(state="dead", topic=topic, endpoint=endpoint, page=page, json=json)


@cli.command()
def replay(
    ids: Ids = None,
    channel: Channel = None,
    endpoint: Endpoint = None,
    topic: Topic = None,
    all_: All = False,
    json: Json = False,
) -> None:
    """Send dead letters again, under the same idempotency keys. Cut short, it can be started again."""
    which = _which(ids, channel, endpoint, topic, all_=all_)

    async def work(to: Connected) -> tuple[int, int]:
        counts = [await to.steering.count_dead(one) for one in which]
        total = sum(replayable for _, replayable in counts)
        done = await _with_progress("replaying", total, _replayed(to, which))
        return done, sum(dead for dead, _ in counts) - total

    replayed, left = run(work)
    if json:
        write_json({"replayed": replayed, "left": left})
        return
    typer.echo(f"replayed {replayed}" + (f"; {left} left: their endpoints take no messages" if left else ""))


@cli.command()
def purge(
    ids: Ids = None,
    channel: Channel = None,
    endpoint: Endpoint = None,
    topic: Topic = None,
    all_: All = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Forget dead letters; the records of their tries stay for as long as others."""
    which = _which(ids, channel, endpoint, topic, all_=all_)

    async def count(to: Connected) -> int:
        return sum([(await to.steering.count_dead(one))[0] for one in which])

    total = run(count)
    if total and not yes:
        typer.confirm(f"Forget {total} dead letters?", abort=True, err=True)
    purged = run(lambda to: _with_progress("purging", total, _purged(to, which)))
    if json:
        write_json({"purged": purged})
    else:
        typer.echo(f"purged {purged}")


def _which(
    ids: list[int] | None, channel: str | None, endpoint: int | None, topic: str | None, *, all_: bool
) -> list[Dead]:
    if not (ids or channel or endpoint or topic or all_):
        raise fail("name some by id or option, or --all", USAGE)
    chosen: list[int | None] = [*ids] if ids else [None]
    return [Dead(id=one, channel=channel, endpoint=endpoint, topic=topic) for one in chosen]


async def _replayed(to: Connected, which: list[Dead]) -> AsyncIterator[int]:
    for one in which:
        async for chunk in to.steering.replay(one):
            yield len(chunk)


async def _purged(to: Connected, which: list[Dead]) -> AsyncIterator[int]:
    for one in which:
        async for count in to.steering.purge(one):
            yield count


async def _with_progress(name: str, total: int, chunks: AsyncIterator[int]) -> int:
    done = 0
    with progress() as bar:
        task = bar.add_task(name, total=total)
        async for count in chunks:
            done += count
            bar.advance(task, count)
    return done

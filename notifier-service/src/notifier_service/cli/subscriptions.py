"""Commands for subscriptions: ls, show, add, rm, confirm, pause, resume, rotate-secret."""

import sys
from typing import Annotated, Any

import msgspec
import typer

from notifier_service.cli.connection import USAGE, Connected, fail, run
from notifier_service.cli.output import Json, write_json, write_members, write_table
from notifier_service.cli.queue import Page
from notifier_service.subscription import MODES, TOPICS, Wish
from notifier_service.subscriptions import Created, Subscription, wish_of
from notifier_service.target import Target

cli = typer.Typer(help="Subscriptions: who is told of what.", no_args_is_help=True)
Id = Annotated[int, typer.Argument(help="The subscription's id, as `notifier subscriptions ls` shows it.", min=1)]


@cli.command("ls")
def list_(
    topic: Annotated[str | None, typer.Option(help="Only of this topic.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only of this channel.")] = None,
    page: Page = 1,
    json: Json = False,
) -> None:
    """Subscriptions, the newest first; of addresses little is shown."""

    async def work(to: Connected) -> tuple[list[Subscription], bool]:
        async with to.subscriptions() as subscriptions:
            return await subscriptions.page(page, topic=topic, channel=channel)

    found, has_more = run(work)
    if json:
        write_json(found)
        return
    write_table(
        ("ID>", "TOPIC", "OF", "WHEN", "CHANNEL", "ENDPOINT>", "TO", "STATE"),
        [
            (
                one.id, one.topic, _filter(one), _when(one), one.endpoint.channel, one.endpoint.id,
                one.endpoint.name or one.endpoint.address, "paused" if one.paused else one.endpoint.state,
            )
            for one in found
        ],
        empty="There are no subscriptions.",
    )  # fmt: skip
    if has_more:
        typer.echo(f"more: --page {page + 1}")


@cli.command()
def show(id: Id, json: Json = False) -> None:
    """One subscription."""

    async def work(to: Connected) -> Subscription:
        async with to.subscriptions() as subscriptions:
            return await subscriptions.get(id)

    _write(run(work), json=json)


@cli.command()
def add(
    topic: Annotated[str, typer.Argument(help=f"One of {', '.join(TOPICS)}.")],
    channel: Annotated[str, typer.Argument(help="As webhook or slack.")],
    address: Annotated[
        str, typer.Argument(help="Where to, as the channel takes it: a URL; - reads it from standard input.")
    ],
    secret: Annotated[
        str | None, typer.Option(help="Of a webhook, whsec_…: - reads it from standard input; without, one is made.")
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Of the trending pages: a name or slug, or all; may be repeated.")
    ] = None,
    since: Annotated[str, typer.Option(help="daily, weekly or monthly trending.")] = "daily",
    minimum_period_stars: Annotated[int | None, typer.Option(help="Stars won in the period, at least.")] = None,
    repository: Annotated[str | None, typer.Option(help="owner/name")] = None,
    owner: Annotated[str | None, typer.Option(help="A login.")] = None,
    mode: Annotated[str | None, typer.Option(help=f"One of {', '.join(MODES)}.")] = None,
    digest_hour: Annotated[int | None, typer.Option(help="0 to 23, in the time zone.")] = None,
    digest_weekday: Annotated[str | None, typer.Option(help="As monday.")] = None,
    time_zone: Annotated[str, typer.Option(help="As Asia/Shanghai.")] = "UTC",
    quiet_from: Annotated[str | None, typer.Option(help="HH:MM, in the time zone.")] = None,
    quiet_until: Annotated[str | None, typer.Option(help="HH:MM, in the time zone.")] = None,
    text_language: Annotated[str, typer.Option(help="en or zh.")] = "en",
    config: Annotated[str, typer.Option(help="What else the channel wants to know: a JSON object.")] = "{}",
    json: Json = False,
) -> None:
    """Subscribe. A webhook is asked whether it wants messages; the secret that is made for it is shown once."""
    given: dict[str, Any] = {
        "topic": topic, "languages": tuple(language or ()), "since": since,
        "minimum_period_stars": minimum_period_stars, "repository": repository, "owner": owner, "mode": mode,
        "digest_hour": digest_hour, "digest_weekday": digest_weekday, "time_zone": time_zone,
        "quiet_from": quiet_from, "quiet_until": quiet_until,
    }  # fmt: skip
    try:
        wish = msgspec.convert(given, Wish)
        target = Target(
            channel=channel,
            address=_typed(address),
            secret=secret and _typed(secret),
            language=text_language,
            config=msgspec.json.decode(config, type=dict[str, Any]),
        )
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise fail(str(error), USAGE) from None

    async def work(to: Connected) -> tuple[Created, Subscription, str | None]:
        async with to.subscriptions() as subscriptions:
            created = await subscriptions.create(wish, target)
            refusal = None
            if created.subscription.endpoint.state == "unconfirmed":
                refusal = await subscriptions.confirm(created.subscription.id)
            return created, await subscriptions.get(created.subscription.id), refusal

    created, subscription, refusal = run(work)
    if not created.is_new:
        typer.echo("there already:", err=True)
    _write(subscription, json=json, secret=created.secret)
    if refusal is not None:
        raise fail(f"kept, but not confirmed: {refusal}; then: notifier subscriptions confirm {subscription.id}")


@cli.command("rm")
def remove(id: Id, json: Json = False) -> None:
    """Delete a subscription, and its endpoint with the last one."""

    async def work(to: Connected) -> None:
        async with to.subscriptions() as subscriptions:
            await subscriptions.delete(id)

    run(work)
    if json:
        write_json({"deleted": id})
    else:
        typer.echo(f"deleted {id}")


@cli.command()
def confirm(id: Id, json: Json = False) -> None:
    """Ask its endpoint (again) whether it wants messages; what was disabled works again."""

    async def work(to: Connected) -> tuple[Subscription, str | None]:
        async with to.subscriptions() as subscriptions:
            refusal = await subscriptions.confirm(id)
            return await subscriptions.get(id), refusal

    subscription, refusal = run(work)
    _write(subscription, json=json)
    if refusal is not None:
        raise fail(f"not confirmed: {refusal}")


@cli.command()
def pause(id: Id, json: Json = False) -> None:
    """Tell it nothing until it is resumed; what happens meanwhile is not told later."""
    _pause(id, paused=True, json=json)


@cli.command()
def resume(id: Id, json: Json = False) -> None:
    """Tell it again."""
    _pause(id, paused=False, json=json)


@cli.command("rotate-secret")
def rotate_secret(id: Id, json: Json = False) -> None:
    """Make a new secret and show it once; until the next rotation messages are signed with the old one as well."""

    async def work(to: Connected) -> str:
        async with to.subscriptions() as subscriptions:
            return await subscriptions.rotate_secret(id)

    secret = run(work)
    if json:
        write_json({"secret": secret})
    else:
        typer.echo(secret)


def _typed(text: str) -> str:
    return sys.stdin.readline().strip() if text == "-" else text


def _pause(id: int, *, paused: bool, json: bool) -> None:
    async def work(to: Connected) -> Subscription:
        async with to.subscriptions() as subscriptions:
            wish = wish_of(await subscriptions.get(id))
            return await subscriptions.change(id, msgspec.structs.replace(wish, paused=paused))

    _write(run(work), json=json)


def _write(subscription: Subscription, *, json: bool, secret: str | None = None) -> None:
    if json:
        write_json({**msgspec.to_builtins(subscription), **({"secret": secret} if secret else {})})
        return
    endpoint = subscription.endpoint
    write_members(
        [
            ("id", subscription.id),
            ("topic", subscription.topic),
            ("of", _filter(subscription)),
            ("when", _when(subscription)),
            ("paused", subscription.paused),
            ("next digest", subscription.next_digest_at),
            ("endpoint", endpoint.id),
            ("to", f"{endpoint.channel} {endpoint.name or endpoint.address}, in {endpoint.language}"),
            ("state", endpoint.state),
            ("reason", endpoint.reason),
            ("secret", secret and f"{secret} (shown this once)"),
        ]
    )  # fmt: skip


def _filter(one: Subscription) -> str:
    parts = [", ".join(one.languages) and f"{', '.join(one.languages)} ({one.since})", one.repository, one.owner]
    if one.minimum_period_stars is not None:
        parts.append(f"≥ {one.minimum_period_stars} ★")
    return " ".join(filter(None, parts)) or "everything"


def _when(one: Subscription) -> str:
    if one.mode == "at_once":
        return f"at once, not {one.quiet_from}–{one.quiet_until} {one.time_zone}" if one.quiet_from else "at once"
    day = f"{one.digest_weekday}s" if one.digest_weekday else "daily"
    return f"{day} at {one.digest_hour}:00 {one.time_zone}"

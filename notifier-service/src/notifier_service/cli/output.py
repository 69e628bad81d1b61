"""How results are written: JSON for programs, tables for people, progress on standard error."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
WIDTH_ELSEWHERE = 240
"""Columns where output does not go to a terminal."""
_STYLES = {
    "delivered": "green", "active": "green", "ok": "green", "waiting": "cyan", "sending": "cyan", "held": "yellow",
    "warning": "yellow", "paused": "yellow", "unconfirmed": "yellow", "dead": "red", "disabled": "red", "failed": "red",
}  # fmt: skip


def write_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table on standard output; `empty` where there are no rows. A column `name>` is right-aligned."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.rstrip(">"), justify="right" if column.endswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if table.row_count:
        _console().print(table)
    else:
        typer.echo(empty)


def write_members(members: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one a line; what is None is left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in members:
        if value is not None:
            table.add_row(name, _cell(value))
    _console().print(table)


def progress() -> Progress:
    """A bar on standard error; nothing where that is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def duration(seconds: float | None) -> str | None:
    """Seconds as people say them: 0.4 s, 12 s, 3 min, 5 h, 2 d."""
    if seconds is None:
        return None
    for limit, divisor, unit in ((1, 1, "s"), (120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.1f} {unit}" if limit == 1 else f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=WIDTH_ELSEWHERE)


def _cell(value: Any) -> Text:
    # Not as markup: what messages and errors say is others' text.
    if value is None:
        return Text("–", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, datetime):
        return Text(value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ"))
    text = str(value)
    return Text(text, style=_STYLES.get(text, ""))

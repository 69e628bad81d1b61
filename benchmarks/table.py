"""Tables of plain text, and the lines that say where their figures come from."""

import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path


def format_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A title, a head and the rows; the first column to the left, figures to the right."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    lines = [_format_row(row, widths) for row in (columns, ["-" * width for width in widths], *rows)]
    return "\n".join([title, "", *lines, ""])


def describe_run(arguments: Sequence[str]) -> str:
    """Machine, Python, time in UTC, and the command that makes the same tables."""
    command = " ".join(["python -m benchmarks", *arguments])
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    load = f"{os.getloadavg()[0]:.1f}"
    return (
        f"{os.cpu_count()} cores, {_cpu_model()}, {platform.system()}, Python {platform.python_version()};"
        f" {now}, load average at the start {load}; {command}"
    )


def say(line: str) -> None:
    """Tell of progress, on standard error: the tables alone are the output."""
    print(line, file=sys.stderr, flush=True)


def _format_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *figures = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in figures)]).rstrip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())

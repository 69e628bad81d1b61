"""Contract tests show what they found: tables at the end of pytest's output, also without `-s`."""

from typing import Any

import pytest

TRENDING_TABLES: dict[str, list[tuple[str, ...]]] = {}


@pytest.fixture
def trending_tables() -> dict[str, list[tuple[str, ...]]]:
    """Title → lines; the first line of a table is its head. What a test adds is printed at the end of the run."""
    return TRENDING_TABLES


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print every table, columns aligned."""
    for title, lines in TRENDING_TABLES.items():
        terminalreporter.section(title, sep="-")
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            terminalreporter.write_line("  ".join(cells).rstrip())

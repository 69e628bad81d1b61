"""Queries by name: a .sql file beside the module that runs them, each begun by a line `-- name: …`."""

import re
from pathlib import Path

_QUERY = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


def read_queries(file: str) -> dict[str, str]:
    """The queries of the .sql file of the same name as the module `file` (its `__file__`)."""
    return dict(_QUERY.findall(Path(file).with_suffix(".sql").read_text()))

"""The programming languages of the trending page's menu: names, slugs, colours, from the project's list."""

import json
from functools import cache
from importlib.resources import files
from urllib.parse import quote, unquote

UNKNOWN = "Unknown languages"


@cache
def colors() -> dict[str, str | None]:
    """Name → `#rrggbb` or None, of all languages in the menu's order."""
    content = files("github_client").joinpath("linguist_languages.json").read_text("utf-8")
    known: dict[str, str | None] = json.loads(content)["colors"]
    return {UNKNOWN: None, **known}


def slug(name: str) -> str:
    """As it stands in the page's address: lower case, spaces to `-`, percent-encoded (true of the recorded menu)."""
    return "unknown" if name == UNKNOWN else quote(name.lower().replace(" ", "-"), safe="*()'+!")


def named(text: str) -> str | None:
    """The language of a slug, encoded or not, in any case; None if there is none."""
    return _name_by_slug().get(unquote(text).lower())


@cache
def _name_by_slug() -> dict[str, str]:
    return {unquote(slug(name)): name for name in colors()}

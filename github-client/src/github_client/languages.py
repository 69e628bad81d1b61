"""GitHub's programming languages: names, slugs of the trending page, colours, and what a client may call them by."""

import difflib
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import NamedTuple
from urllib.parse import quote, unquote

import msgspec

# Of Linguist's special characters GitHub's menu (2026-05-13) leaves these as they are and encodes only `#`.
_SLUG_SAFE = "*()'+!"
# What the original client's missing escaping loses: a fragment, a parameter, a percent sign, a space.
_LOST_UNESCAPED = frozenset("#&%+")
_POPULAR = ("JavaScript", "Python", "Java", "TypeScript", "Go", "Rust", "Swift", "Kotlin", "PHP", "Ruby", "C", "Vue")


class Language(msgspec.Struct, frozen=True):
    """A language of the trending page's menu."""

    name: str
    slug: str
    """As it stands in the page's address, percent-encoded: `c%23`. It is not to be encoded again."""
    color: str | None = None
    """`#rrggbb`; null for a language that has none in Linguist."""


# The menu's first entry: no language of Linguist, and the only one that the slug rule does not fit.
_NO_LANGUAGE = Language("Unknown languages", "unknown")


def language_slug(name: str) -> str:
    """GitHub's slug for a name: lower case, spaces to `-`, percent-encoded (fits all 804 of 2026-05-13)."""
    if name == _NO_LANGUAGE.name:
        return _NO_LANGUAGE.slug
    return quote(name.lower().replace(" ", "-"), safe=_SLUG_SAFE)


def encoded_slug(text: str) -> str:
    """A slug in GitHub's encoding, whether `text` is encoded already (`c%23`) or not (`c#`)."""
    return quote(unquote(text), safe=_SLUG_SAFE)


def bundled_languages() -> tuple[Language, ...]:
    """Linguist's languages as released with this package, in alphabetical order; no I/O but the package's own file."""
    content = msgspec.json.decode(files(__package__).joinpath("linguist_languages.json").read_bytes())
    languages = (Language(name, language_slug(name), color) for name, color in content["colors"].items())
    return (_NO_LANGUAGE, *languages)


class _Known(NamedTuple):
    languages: tuple[Language, ...]
    by_key: dict[str, Language]
    name_by_folded: dict[str, str]
    for_original_client: tuple[str, ...]


class LanguageCatalogue:
    """The languages that may be asked for: bundled ones, until GitHub's own menu overrides them.

    Safe to read in one thread while another updates it: what is known is replaced as a whole.
    """

    def __init__(self) -> None:
        bundled = bundled_languages()
        self._color_by_slug = {language.slug: language.color for language in bundled}
        self._known = _index(bundled)
        self._menu: Sequence[Language] | None = None

    def all(self) -> tuple[Language, ...]:
        """Every language, in the menu's order: "Unknown languages", then alphabetically."""
        return self._known.languages

    def lookup(self, text: str) -> Language | None:
        """The language that a client means by its slug, encoded or not, or its name, in any case; None if none.

        Spaces and hyphens are the same here, as they are in slugs. One dictionary access.
        """
        return self._known.by_key.get(_key(text))

    def nearest(self, text: str, n: int = 3) -> tuple[str, ...]:
        """Up to `n` names that resemble `text`, the nearest first; none where nothing comes near.

        Some milliseconds, whatever the text: of one much longer than every name difflib compares the lengths alone.
        """
        folded = self._known.name_by_folded
        close = difflib.get_close_matches(text.casefold(), folded, n)
        return tuple(folded[match] for match in close)

    def update(self, menu: Sequence[Language]) -> bool:
        """Let GitHub's live menu (names and slugs; colours stay Linguist's) replace the list; says whether it did.

        A menu of less than half the languages known is refused: a page that is cut or has changed its markup
        must not make known languages unknown.
        """
        if menu == self._menu:
            return True
        if len(menu) * 2 < len(self._known.languages):
            return False
        color_by_slug = self._color_by_slug
        self._known = _index(Language(each.name, each.slug, color_by_slug.get(each.slug)) for each in menu)
        self._menu = menu
        return True

    def for_original_client(self) -> tuple[str, ...]:
        """Names for the original mini-program's picker: those that come back as a language we can tell.

        It sends a name back in lower case and escapes only spaces and non-ASCII characters, so names with `# & % +`
        are left out; it also cuts `&language=all` out of its addresses, so names that start with "all" are, too.
        The picker is scrolled by thumb and has no search: a dozen popular languages come first (the original back
        end offered seven in all), the others follow in alphabetical order.
        """
        return self._known.for_original_client


def _index(languages: Iterable[Language]) -> _Known:
    known = tuple(languages)
    # By name first: should a slug ever equal another language's name, the slug wins, as it does at GitHub.
    by_key = {_key(language.name): language for language in known}
    by_key.update((_key(language.slug), language) for language in known)
    name_by_folded = {language.name.casefold(): language.name for language in known}
    return _Known(known, by_key, name_by_folded, _for_original_client(known, by_key))


def _for_original_client(known: tuple[Language, ...], by_key: dict[str, Language]) -> tuple[str, ...]:
    names = [
        language.name
        for language in known
        if not _LOST_UNESCAPED.intersection(language.name)
        and not language.name.lower().startswith("all")
        and by_key.get(_key(language.name.lower())) == language
    ]
    popular = [name for name in _POPULAR if name in names]
    return (*popular, *sorted(set(names).difference(popular), key=str.casefold))


def _key(text: str) -> str:
    return "-".join(unquote(text).casefold().split())

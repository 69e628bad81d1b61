"""Which trending page: its key, how a client asks for it, and its address at github.com."""

from typing import Literal

import msgspec

from github_client.languages import LanguageCatalogue
from service_kit.errors import UnprocessableParameter
from service_kit.query import Query

Section = Literal["repositories", "developers"]
Since = Literal["daily", "weekly", "monthly"]
SECTIONS: tuple[Section, ...] = ("repositories", "developers")
SINCE: tuple[Since, ...] = ("daily", "weekly", "monthly")
MOST_CONFIGURED_LANGUAGES = 14
"""90 pages with those of all languages: of the 120 that are fetched, some are left for what people ask for."""


class PageKey(msgspec.Struct, frozen=True):
    """One page of github.com/trending; an empty text stands for "all"."""

    section: Section
    since: Since
    language_slug: str = ""
    """GitHub's slug of the programming language, percent-encoded: `c%23`."""
    spoken_language_code: str = ""
    """ISO 639-1."""

    @property
    def target(self) -> str:
        """Path and query at github.com, ready to be sent."""
        developers = "/developers" if self.section == "developers" else ""
        language = f"/{self.language_slug}" if self.language_slug else ""
        spoken = f"&spoken_language_code={self.spoken_language_code}" if self.spoken_language_code else ""
        return f"/trending{developers}{language}?since={self.since}{spoken}"


def configured_pages(languages: str) -> tuple[PageKey, ...]:
    """The pages that are kept whether anybody asks or not: both sections, every period, all languages together, and
    each of `languages`, comma-separated names or slugs.

    Raises ValueError for a language that is none of GitHub's, or too many.
    """
    catalogue = LanguageCatalogue()
    slugs = {"": None}  # each once, in order
    for text in filter(None, (part.strip() for part in languages.split(","))):
        language = catalogue.lookup(text)
        if language is None:
            near = ", ".join(catalogue.nearest(text))
            raise ValueError(f"{text!r} is no language of GitHub's" + (f"; near: {near}" if near else ""))
        slugs[language.slug] = None
    if len(slugs) > MOST_CONFIGURED_LANGUAGES + 1:
        raise ValueError(f"should name at most {MOST_CONFIGURED_LANGUAGES} languages")
    return tuple(PageKey(section, since, slug) for slug in slugs for since in SINCE for section in SECTIONS)


def read_page_key(section: Section, query: Query, catalogue: LanguageCatalogue) -> PageKey:
    """Read `since`, `language` (a slug or a name, in any case; absent or "all" for all) and `spoken_language_code`.

    Raises UnprocessableParameter for an unknown value, with the nearest names for a language.
    """
    since = query.choice("since", SINCE, "daily")
    # Slugs hold plus signs (c++), forms turn spaces into them: the sign is tried first.
    text = query.text("language", plus_is_space=False)
    slug = ""
    if text is not None and text.lower() != "all":
        language = catalogue.lookup(text) or catalogue.lookup(text.replace("+", " "))
        if language is None:
            raise UnprocessableParameter(
                "language", "is not a language of GitHub's trending page.", nearest=catalogue.nearest(text)
            )
        slug = language.slug
    spoken = query.text("spoken_language_code")
    if spoken is not None and not (len(spoken) == 2 and spoken.isascii() and spoken.isalpha() and spoken.islower()):
        raise UnprocessableParameter("spoken_language_code", "should be a code of two lower-case letters (ISO 639-1).")
    return PageKey(section, since, slug, spoken or "")  # type: ignore[arg-type]

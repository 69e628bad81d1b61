"""Which trending page: its key, how a client asks for it, and its address at github.com."""

from typing import Literal

import msgspec

from github_client.languages import LanguageCatalogue
from service_kit.errors import UnprocessableParameter
from service_kit.query import Query

Section = Literal["repositories", "developers"]
Since = Literal["daily", "weekly", "monthly"]
SINCE: tuple[Since, ...] = ("daily", "weekly", "monthly")


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

"""What messages say, in Chinese and English: one file for each kind of message, and the choice among them.

A kind's file has a function from a message's body to a `Wording`; a channel writes that as its place wants it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from notifier_service.wording import alert, release_published, subscription_test, trending_digest, trending_entered
from notifier_service.wording.parts import Wording

Language = Literal["en", "zh"]
_Word = Callable[[Mapping[str, Any], Language, int], Wording]
KINDS: dict[str, _Word] = {
    "alert": alert.word,
    "trending.entered": trending_entered.word,
    "trending.digest": trending_digest.word,
    "release.published": release_published.word,
    "subscription.test": subscription_test.word,
}


class NoWording(Exception):
    """There is no such kind of message, or the body is not one of its kind; the text says what is wrong."""


def word(topic: str, body: Mapping[str, Any], language: Language, occurrences: int = 1) -> Wording:
    """What a message says. Raises NoWording."""
    kind = KINDS.get(topic)
    if kind is None:
        raise NoWording(f"there is no wording for the topic {topic}")
    try:
        return kind(body, language, occurrences)
    except msgspec.ValidationError as error:
        raise NoWording(f"the body is no {topic}: {error}") from error

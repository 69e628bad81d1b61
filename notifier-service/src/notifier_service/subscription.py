"""What a subscription may say: topics, filters, hours, and which of them go together. Pure."""

import re
from collections.abc import Collection
from typing import Annotated

import msgspec

from service_kit.errors import InvalidParameter, UnprocessableParameter

TOPICS = ("trending.entered", "trending.digest", "release.published", "alert")
SINCE = ("daily", "weekly", "monthly")
MODES = ("at_once", "daily", "weekly")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
TEXT_LANGUAGES = ("en", "zh")
ALL_LANGUAGES = "all"
"""GitHub's page of all languages together, as a language."""
MOST_LANGUAGES = 10
DEFAULT_DIGEST_HOUR = 8
# What says which trending pages, and which rows of them.
_OF_TRENDING = ("languages", "since", "minimum_period_stars")
_OF_REPOSITORIES = ("repository", "owner")
_APPLICABLE = {
    "trending.entered": {*_OF_TRENDING, *_OF_REPOSITORIES, "quiet_from", "quiet_until"},
    "trending.digest": {*_OF_TRENDING, "digest_hour", "digest_weekday"},
    "release.published": {"repository", "quiet_from", "quiet_until"},
    "alert": {"quiet_from", "quiet_until"},
}
_LOGIN = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,98})"
_OWNER = re.compile(_LOGIN)
_REPOSITORY = re.compile(rf"{_LOGIN}/[A-Za-z0-9._-]{{1,100}}")
_HOUR = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_TIME_ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,2}")

Short = Annotated[str, msgspec.Meta(max_length=200)]


class Wish(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What somebody wants to be told, and when; absent members of a filter let everything through."""

    topic: Short
    languages: Annotated[tuple[Short, ...], msgspec.Meta(max_length=MOST_LANGUAGES)] = ()
    """Trending pages by GitHub's slugs of languages; `all` is the page of all languages together, and the default."""
    since: Short = "daily"
    """Which period's trending pages."""
    minimum_period_stars: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    repository: Short | None = None
    """`owner/name`, in any case."""
    owner: Short | None = None
    mode: Short | None = None
    """`at_once`, or for digests `daily` (default) or `weekly`."""
    digest_hour: Annotated[int, msgspec.Meta(ge=0, le=23)] | None = None
    digest_weekday: Short | None = None
    time_zone: Short = "UTC"
    """IANA name: what hours mean."""
    quiet_from: Short | None = None
    """`HH:MM`; may lie after `quiet_until`, over midnight."""
    quiet_until: Short | None = None
    paused: bool = False


def complete(wish: Wish) -> Wish:
    """The wish with its defaults and in the form in which it is kept: lower case, languages sorted.

    Raises InvalidParameter and UnprocessableParameter, which name the field.
    """
    one_of("topic", wish.topic, TOPICS)
    _refuse_what_does_not_apply(wish)
    is_digest = wish.topic == "trending.digest"
    mode = wish.mode or ("daily" if is_digest else "at_once")
    one_of("mode", mode, MODES[1:] if is_digest else MODES[:1])
    one_of("since", wish.since, SINCE)
    if not _TIME_ZONE.fullmatch(wish.time_zone):
        raise InvalidParameter("time_zone", "should be the name of a time zone, as Asia/Shanghai.")
    if wish.topic == "release.published" and wish.repository is None:
        raise InvalidParameter("repository", "is missing: releases are watched repository by repository.")
    _matches("repository", wish.repository, _REPOSITORY, "should be owner/name.")
    _matches("owner", wish.owner, _OWNER, "should be a login.")
    _check_quiet_hours(wish)
    return msgspec.structs.replace(
        wish,
        languages=_languages(wish),
        repository=wish.repository and wish.repository.lower(),
        owner=wish.owner and wish.owner.lower(),
        mode=mode,
        digest_hour=(DEFAULT_DIGEST_HOUR if wish.digest_hour is None else wish.digest_hour) if is_digest else None,
        digest_weekday=_weekday(wish, mode),
    )


def _refuse_what_does_not_apply(wish: Wish) -> None:
    defaults = Wish(topic=wish.topic)
    for field in (*_OF_TRENDING, *_OF_REPOSITORIES, "digest_hour", "digest_weekday", "quiet_from", "quiet_until"):
        if field not in _APPLICABLE[wish.topic] and getattr(wish, field) != getattr(defaults, field):
            raise UnprocessableParameter(field, f"does not apply to the topic {wish.topic}.")


def _languages(wish: Wish) -> tuple[str, ...]:
    if "languages" not in _APPLICABLE[wish.topic]:
        return ()
    return tuple(sorted({language.lower() for language in wish.languages})) or (ALL_LANGUAGES,)


def _weekday(wish: Wish, mode: str) -> str | None:
    if mode != "weekly":
        if wish.digest_weekday is not None:
            raise UnprocessableParameter("digest_weekday", "applies to the mode weekly only.")
        return None
    return one_of("digest_weekday", wish.digest_weekday or WEEKDAYS[0], WEEKDAYS)


def _check_quiet_hours(wish: Wish) -> None:
    for field, other in (("quiet_from", wish.quiet_until), ("quiet_until", wish.quiet_from)):
        value = getattr(wish, field)
        _matches(field, value, _HOUR, "should be a time of day, as 22:30.")
        if value is None and other is not None:
            raise InvalidParameter(field, "is missing: quiet hours have a beginning and an end.")
    if wish.quiet_from is not None and wish.quiet_from == wish.quiet_until:
        raise UnprocessableParameter("quiet_until", "should differ from quiet_from; to be told nothing, pause.")


def one_of(field: str, value: str, choices: Collection[str]) -> str:
    """The value. Raises UnprocessableParameter, naming the field and the choices, when it is none of them."""
    if value not in choices:
        raise UnprocessableParameter(field, f"should be one of {', '.join(choices)}.", nearest=tuple(choices))
    return value


def _matches(field: str, value: str | None, form: re.Pattern[str], complaint: str) -> None:
    if value is not None and not form.fullmatch(value):
        raise InvalidParameter(field, complaint)


class Language(msgspec.Struct, frozen=True):
    """A language of GitHub's trending menu, as the trending store keeps it; what else it has is not read here."""

    name: str
    slug: str


def slug_of(text: str, menu: Collection[Language]) -> str:
    """The slug that `text` (a slug or a name, in any case) means, as it is if nothing is known of the menu yet.

    Raises UnprocessableParameter with the nearest names.
    """
    import difflib

    by_key = {key: one.slug for one in menu for key in (one.slug.lower(), one.name.lower())}
    if text == ALL_LANGUAGES:
        return ""
    if text.lower() in by_key:
        return by_key[text.lower()]
    if menu or not re.fullmatch(r"[a-z0-9%+.*()'!-]+", text):
        nearest = tuple(difflib.get_close_matches(text.lower(), by_key, 3))
        raise UnprocessableParameter(
            "languages", f"{text} is not a language of GitHub's trending page.", nearest=nearest
        )
    return text

"""What a shared cache may keep and for how long, under which key, and in which encoding it answers: tables."""

from email.utils import formatdate

import pytest

from gateway.cache.encoding import preferred_encoding
from gateway.cache.key import shared_target
from gateway.cache.policy import Lifetime, lifetime_of, parse_cache_control, updated

NOW = 1_700_000_000.0


def lifetime(*headers: tuple[str, str], status: int = 200, delay_seconds: float = 0.0) -> Lifetime | None:
    return lifetime_of(status, headers, now=NOW, delay_seconds=delay_seconds)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("max-age=60", (60, 0, 0)),
        ("public, max-age=60, stale-while-revalidate=30, stale-if-error=90", (60, 30, 90)),
        ("MAX-AGE=60", (60, 0, 0)),
        ('max-age="60"', (60, 0, 0)),
        ("max-age=60, s-maxage=5, stale-if-error=90", (5, 0, 0)),
        ("max-age=60, must-revalidate, stale-while-revalidate=30", (60, 0, 0)),
        ("max-age=60, proxy-revalidate, stale-if-error=30", (60, 0, 0)),
        ("max-age=1, max-age=99", (1, 0, 0)),
        ("max-age=99999999999", (604_800, 0, 0)),
        ("max-age=0, stale-while-revalidate=30", (0, 30, 0)),
    ],
)
def test_what_a_service_says_is_believed(stated: str, expected: tuple[int, int, int]) -> None:
    found = lifetime(("Cache-Control", stated))
    assert found is not None
    assert (found.fresh, found.while_revalidated, found.if_error) == expected


@pytest.mark.parametrize(
    "stated",
    [
        "",
        "public",
        "no-store, max-age=60",
        "private, max-age=60",
        'private="Set-Cookie", max-age=60',
        "no-cache, max-age=60",
        "max-age=-1",
        "max-age=x",
        "max-age",
        "max-age=1.5",
        "stale-while-revalidate=60",
        'ext="a, max-age=60"',
    ],
)
def test_without_a_lifetime_for_everybody_nothing_is_kept(stated: str) -> None:
    assert lifetime(("Cache-Control", stated)) is None


@pytest.mark.parametrize(
    "header",
    [
        ("Set-Cookie", "a=b"),
        ("Content-Encoding", "gzip"),
        ("Content-Range", "bytes 0-1/2"),
        ("Vary", "*"),
        ("Vary", "Accept, X-Tenant"),
        ("Vary", "User-Agent"),
    ],
)
def test_what_may_differ_between_callers_is_not_kept(header: tuple[str, str]) -> None:
    assert lifetime(("Cache-Control", "max-age=60"), header) is None


@pytest.mark.parametrize("vary", ["Authorization", "accept, Accept-Encoding", "Cookie"])
def test_what_varies_by_what_is_known_is_kept(vary: str) -> None:
    assert lifetime(("Cache-Control", "max-age=60"), ("Vary", vary)) is not None


@pytest.mark.parametrize("status", [200, 203, 204, 301, 308, 404, 410])
def test_complete_answers_are_kept(status: int) -> None:
    assert lifetime(("Cache-Control", "max-age=60"), status=status) is not None


@pytest.mark.parametrize("status", [206, 302, 304, 400, 401, 403, 429, 500, 502, 503])
def test_other_statuses_are_not_kept_whatever_they_say(status: int) -> None:
    assert lifetime(("Cache-Control", "max-age=60"), status=status) is None


@pytest.mark.parametrize(
    ("headers", "delay_seconds", "age"),
    [
        ([], 0.0, 0),
        ([("Age", "10")], 0.0, 10),
        ([("Age", "10")], 2.0, 12),
        ([("Date", formatdate(NOW - 30, usegmt=True))], 0.0, 30),
        ([("Date", formatdate(NOW - 30, usegmt=True)), ("Age", "40")], 0.0, 40),
        ([("Date", formatdate(NOW + 500, usegmt=True))], 0.0, 0),
        ([("Date", "yesterday")], 0.0, 0),
        ([("Age", "-5")], 0.0, 0),
    ],
)
def test_age_is_the_larger_of_what_is_said(headers: list[tuple[str, str]], delay_seconds: float, age: int) -> None:
    found = lifetime(("Cache-Control", "max-age=60"), *headers, delay_seconds=delay_seconds)
    assert found is not None
    assert found.age == age


def test_directives_may_stand_in_several_fields_and_in_quotes() -> None:
    assert parse_cache_control(["a, B=1 ", 'c="x, y=2", d']) == {"a": "", "b": "1", "c": "x, y=2", "d": ""}


def test_a_304_changes_all_but_the_body() -> None:
    stored = [("ETag", "1"), ("Cache-Control", "max-age=1"), ("Content-Type", "text/html"), ("X-A", "1")]
    said = [("cache-control", "max-age=9"), ("Content-Type", "text/plain"), ("ETag", "1")]
    expected = [("Content-Type", "text/html"), ("X-A", "1"), ("cache-control", "max-age=9"), ("ETag", "1")]
    assert updated(stored, said) == expected


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("", "/p"),
        ("a=1&b=2", "/p?a=1&b=2"),
        ("b=2&a=1", "/p?a=1&b=2"),
        ("utm_source=x&b=2&_=99", "/p?b=2"),
        ("unknown=1", "/p"),
        ("a=%2B&a=+", "/p?a=%2B&a=+"),
        ("a=2&b=1&a=1", "/p?a=2&a=1&b=1"),
        ("A=1", "/p"),
        ("%61=1", "/p"),
        ("a", "/p?a"),
        ("&&a=1&", "/p?a=1"),
    ],
)
def test_the_key_is_what_a_service_may_look_at(query: str, target: str) -> None:
    assert shared_target("/p", query, frozenset({"a", "b"})) == target


@pytest.mark.parametrize("query", ["token=x", "a=1&token=x", "TOKEN=x", "%74oken=x", "token", "access_token=x"])
def test_a_request_with_a_token_has_no_key(query: str) -> None:
    assert shared_target("/p", query, frozenset({"a"})) is None


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("", "identity"),
        ("gzip", "gzip"),
        ("gzip, deflate, br", "br"),
        ("br;q=0.5, gzip;q=0.8", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("BR", "br"),
        ("*", "br"),
        ("*;q=0", "identity"),
        ("gzip;q=0.5, identity", "identity"),
        ("gzip;q=nonsense", "identity"),
        ("zstd, deflate", "identity"),
        ("x" * 100_000, "identity"),
    ],
)
def test_the_encoding_is_the_callers_choice(accepted: str, encoding: str) -> None:
    assert preferred_encoding(accepted) == encoding

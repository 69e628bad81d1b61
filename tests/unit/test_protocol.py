"""GitHub's HTTP rules."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from multidict import CIMultiDict

from github_client.protocol import LOGIN, REPOSITORY_NAME, last_known_page, page_of, parse_links, recognise_limit

NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
API = "https://api.github.com"


@pytest.mark.parametrize(
    ("header", "page", "expected"),
    [
        pytest.param(None, 1, 1, id="no Link: everything is on this page"),
        pytest.param(
            f'<{API}/search?q=x&page=2>; rel="next", <{API}/search?q=x&page=34>; rel="last"', 1, 34, id="last"
        ),
        pytest.param(f'<{API}/r?page=3&per_page=100>; rel="last"', 2, 3, id="per_page comes last"),
        pytest.param(f'<{API}/r?per_page=100&page=3>; rel="last"', 2, 3, id="per_page comes first"),
        pytest.param(f'<{API}/users/x/received_events?page=2>; rel="next"', 1, 2, id="only next"),
        pytest.param(
            f'<{API}/user/9/events?page=7>; rel="prev", <{API}/user/9/events?page=1>; rel="first"', 8, 8, id="end"
        ),
        pytest.param(f'<{API}/r?after=Y3Vyc29y&per_page=30>; rel="next"', 4, 4, id="a cursor has no page"),
        pytest.param(f'<{API}/r?since=364>; rel="next"', 1, 1, id="since is no page"),
        pytest.param("<no page", 1, 1, id="unreadable"),
        pytest.param(f'<{API}/r?page=5>; rel="next last"', 1, 5, id="two relations in one"),
        pytest.param(f"<{API}/r?page=5>;rel=last", 1, 5, id="unquoted"),
        pytest.param(f'<{API}/r?a=1,2&page=6>; title="a, b"; rel="last"', 1, 6, id="commas inside"),
    ],
)
def test_last_known_page(header: str | None, page: int, expected: int) -> None:
    assert last_known_page(page, parse_links(header)) == expected


def test_a_page_that_is_no_number_is_no_page() -> None:
    assert page_of(f"{API}/r?page=two") is None
    assert page_of(f"{API}/r?page=²") is None


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        pytest.param(
            403,
            {"x-ratelimit-remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 90)},
            b"{}",
            ("primary", 91),
            id="primary, 403",
        ),
        pytest.param(429, {"X-RateLimit-Remaining": "0"}, b"{}", ("primary", 60), id="primary, 429, no reset"),
        pytest.param(
            403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, b"", ("primary", 1), id="reset is past"
        ),
        pytest.param(403, {"Retry-After": "60"}, b"abuse detection", ("secondary", 60), id="secondary, seconds"),
        pytest.param(
            429,
            {"Retry-After": format_datetime(NOW + timedelta(seconds=30), usegmt=True)},
            b"",
            ("secondary", 31),
            id="secondary, date",
        ),
        pytest.param(
            403, {"gh-limited-by": "search", "X-RateLimit-Remaining": "4000"}, b"", ("secondary", 60), id="header"
        ),
        pytest.param(
            403,
            {"X-RateLimit-Remaining": "21"},
            b'{"message":"You have exceeded a secondary rate limit."}',
            ("secondary", 60),
            id="the body's words alone",
        ),
        pytest.param(429, {}, b"", ("secondary", 60), id="429 and nothing else"),
        pytest.param(403, {"Retry-After": "soon"}, b"API rate limit exceeded", ("primary", 60), id="unreadable wait"),
        pytest.param(403, {"Retry-After": "9" * 40}, b"", ("secondary", 86_400), id="an absurd wait is bounded"),
        pytest.param(403, {"X-RateLimit-Remaining": "12"}, b"Must have admin rights", None, id="a plain 403"),
        pytest.param(404, {"X-RateLimit-Remaining": "0"}, b"", None, id="another status"),
    ],
)
def test_limits_are_recognised(
    status: int, headers: dict[str, str], body: bytes, expected: tuple[str, int] | None
) -> None:
    limit = recognise_limit(status, CIMultiDict(headers), body, NOW)
    assert (limit and (limit.kind, limit.retry_after_seconds)) == expected


@pytest.mark.parametrize("name", ["torvalds", "a", "a-b", "dependabot[bot]", "octo_corp", "a" * 39])
def test_logins_that_exist_are_accepted(name: str) -> None:
    assert LOGIN.fullmatch(name)


@pytest.mark.parametrize("name", ["", "..", "-a", "a" * 40, "a b", "a/b", "a\n", "é", "a%20", "a.b", "[bot]"])
def test_logins_that_cannot_exist_are_refused(name: str) -> None:
    assert not LOGIN.fullmatch(name)


@pytest.mark.parametrize("name", ["linux", ".github", "a.b-c_d", "...", "git", "x" * 100])
def test_repository_names_that_exist_are_accepted(name: str) -> None:
    assert REPOSITORY_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "x" * 101, "a b", "a\n", "linux.git", "名", "a\0"])
def test_repository_names_that_cannot_exist_are_refused(name: str) -> None:
    assert not REPOSITORY_NAME.fullmatch(name)

"""Which request targets may go on to a service."""

import pytest

from gateway.target import InvalidPath, InvalidQuery, check_target

SECRET = "ghp_S3cretS3cret"


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/trending-repositories?since=daily&language=jupyter%20notebook",
        "/v1/repositories/a/.github",
        "/v1/repositories/a/..b",
        "/v1/repositories/a/b...",
        "/v1/repositories/a/b%20c/readme",
        "/v1/developers/%E4%BD%A0",
        "/search/repositories?name=c++",
        "/search/repositories?name=100%",
        "/search/repositories?name=a/../b//c\\d%00%0d%0a",
        "/search/repositories?name=a?b",
    ],
)
def test_what_has_one_reading_goes_on(target: str) -> None:
    check_target(target)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("", "begins with a slash"),
        ("*", "begins with a slash"),
        ("http://evil.example/x", "begins with a slash"),
        ("evil.example:443", "begins with a slash"),
        ("@evil.example/x", "begins with a slash"),
        ("//evil.example/x", "empty segment"),
        ("/v1//me", "empty segment"),
        ("/v1/../metrics", "dot segment"),
        ("/v1/./me", "dot segment"),
        ("/v1/..", "dot segment"),
        ("/v1/%2e%2E/metrics", "dot segment"),
        ("/v1/.%2e/metrics", "dot segment"),
        ("/v1/%2e", "dot segment"),
        ("/v1\\me", "need percent-encoding"),
        ("/v1/me#fragment", "need percent-encoding"),
        ("/v1/m e", "need percent-encoding"),
        ("/v1/m\x00e", "need percent-encoding"),
        ("/v1/m\x7fe", "need percent-encoding"),
        ("/v1/m\r\nX: 1", "need percent-encoding"),
        ("/v1/é", "need percent-encoding"),
        ("/v1/\udcff", "need percent-encoding"),
        ("/v1/%00", "encoded control"),
        ("/v1/%0d%0aX:1", "encoded control"),
        ("/v1/%0A", "encoded control"),
        ("/v1/%1b", "encoded control"),
        ("/v1/%7f", "encoded control"),
        ("/v1%2Fme", "encoded control"),
        ("/v1%2fme", "encoded control"),
        ("/v1%5cme", "encoded control"),
        ("/v1/100%", "not followed by two"),
        ("/v1/%4", "not followed by two"),
        ("/v1/%zz", "not followed by two"),
    ],
)
def test_what_has_two_readings_is_refused(path: str, complaint: str) -> None:
    with pytest.raises(InvalidPath, match=complaint) as raised:
        check_target(f"{path}?token={SECRET}")
    assert SECRET not in raised.value.detail


@pytest.mark.parametrize("query", ["a b", "a\tb", "a\x00", "a\x7f", "ä", "\udcff", "a#b"])
def test_bytes_that_belong_in_no_url_are_refused_in_queries_too(query: str) -> None:
    with pytest.raises(InvalidQuery):
        check_target(f"/search/repositories?name={query}")

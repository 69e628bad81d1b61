"""The request target: which bytes may go on to a service. Pure. The rules' reasons: RFC 9112, 3.2 and 11.2."""

import re

from service_kit.errors import InvalidRequest


class InvalidPath(InvalidRequest):
    """The path could be read in two ways, or not at all."""

    code = "invalid_path"


class InvalidQuery(InvalidRequest):
    """The query has bytes that belong in no URL."""

    code = "invalid_query"


# Each of these has somewhere been read in one way by a proxy and in another by the server behind it.
_FORBIDDEN_IN_PATH = tuple(
    (re.compile(pattern, re.IGNORECASE), detail)
    for pattern, detail in (
        (r"\A(?!/)", "The request target should be a path that begins with a slash."),
        (r"[^!-~]|[#\\]", "The path has characters that need percent-encoding."),
        (r"%(?![0-9a-f]{2})", "The path has a % that is not followed by two hexadecimal digits."),
        (r"%(?:[01][0-9a-f]|7f|2f|5c)", "The path has an encoded control character, slash or backslash."),
        (r"//", "The path has an empty segment."),
        (r"/(?:\.|%2e){1,2}(?:/|\Z)", "The path has a dot segment."),
    )
)
_FORBIDDEN_IN_QUERY = re.compile(r"[^!-~]|#")
# Most paths have nothing that any of these rules speaks of, and are through at one look.
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9_.~-]*)+")


def check_target(target: str) -> None:
    """Accept a target in origin form that has one reading only; whether its query makes sense, the services judge.

    `target` is as it came, undecoded. Raises InvalidPath or InvalidQuery; neither repeats any of it.
    """
    path, _, query = target.partition("?")
    if not _PLAIN_PATH.fullmatch(path):
        for pattern, detail in _FORBIDDEN_IN_PATH:
            if pattern.search(path):
                raise InvalidPath(detail)
    if query and _FORBIDDEN_IN_QUERY.search(query):
        raise InvalidQuery("The query has characters that need percent-encoding.")

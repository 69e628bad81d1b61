"""Redaction: finds what looks like a credential in any text and replaces it. Pure."""

import re

REDACTED = "[redacted]"

# One pass, named after what gave the secret away. `%3[dD]` is an encoded "=", `\\*` survives JSON and repr quoting;
# possessive, so that what is redacted already is not found again by giving a part of the prefix up.
_SECRET = re.compile(
    r"""
      (?P<header> (?<![A-Za-z]) (?:proxy-)?authorization \\*+["']?+ \s*+ (?:[:=,]|%3[aAdD]) \s*+
                  (?:b(?=["']))?+ \\*+["']?+ \s*+ (?:(?:bearer|token|basic)\s++)?+ )
                  (?!\[redacted\]) [^\s"'\\,;&}\]<>)]+
    | (?P<parameter> (?:token|secret) \\*+["']?+ \s*+ (?:=|%3[dD]|:\s*+\\*+["']) \s*+ (?:b(?=["']))?+ \\*+["']?+ )
                  (?!\[redacted\]) [^\s"'\\,;&}\]<>)\#]+
    | (?P<scheme> (?<![A-Za-z]) (?:bearer|token|basic) \s+ ) (?=[A-Za-z0-9_.~+/-]*[0-9]) [A-Za-z0-9_.~+/-]{16,}=*
    | (?P<userinfo> (?<=://) [^\s/:@"']* : ) (?!\[redacted\]) [^\s/@"']+ (?=@)
    | (?<![A-Za-z0-9]) (?: gh[a-z]_[A-Za-z0-9_]{4,} | github_pat_[A-Za-z0-9_]+ )
    """,
    re.VERBOSE | re.IGNORECASE,
)
# What may begin a secret. Most lines have none of these, and looking for words is much cheaper than the pattern.
_HINTS = ("authorization", "token", "secret", "bearer", "basic", "github_pat_")
_TOKEN_HINT = re.compile("[gG][hH][a-zA-Z]_")


def redact(text: str) -> str:
    """Replace the values of `Authorization`, `token=`, `access_token=`, `secret=`, URL passwords and GitHub's token
    forms (`gh?_…`, `github_pat_…`) wherever they appear: headers, queries, JSON, reprs, tracebacks."""
    lowered = text.lower()
    if (
        not any(hint in lowered for hint in _HINTS)
        and "@" not in text
        and not ("gh" in lowered and _TOKEN_HINT.search(text))
    ):
        return text
    return _SECRET.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    kept = match["header"] or match["parameter"] or match["scheme"] or match["userinfo"] or ""
    return kept + REDACTED

"""Redaction: finds what looks like a credential in any text and replaces it. Pure."""

import re

REDACTED = "[redacted]"

# One pass, named after what gave the secret away. `%3[dD]` is an encoded "=", `\\*` survives JSON and repr quoting.
_SECRET = re.compile(
    r"""
      (?P<header> (?<![A-Za-z]) (?:proxy-)?authorization \\*["']? \s* (?:[:=,]|%3[aAdD]) \s* (?:b(?=["']))? \\*["']? \s*
                  (?:(?:bearer|token|basic)\s+)? )  [^\s"'\\,;&}\]<>)]+
    | (?P<parameter> (?:token|secret) \\*["']? \s* (?:=|%3[dD]|:\s*\\*["']) \s* (?:b(?=["']))? \\*["']? )
                  [^\s"'\\,;&}\]<>)\#]+
    | (?P<scheme> (?<![A-Za-z]) (?:bearer|token|basic) \s+ ) (?=[A-Za-z0-9_.~+/-]*[0-9]) [A-Za-z0-9_.~+/-]{16,}=*
    | (?P<userinfo> (?<=://) [^\s/:@"']* : ) [^\s/@"']+ (?=@)
    | (?<![A-Za-z0-9]) (?: gh[a-z]_[A-Za-z0-9_]{4,} | github_pat_[A-Za-z0-9_]+ )
    """,
    re.VERBOSE | re.IGNORECASE,
)
# What may begin a secret; most lines have none of these, and one scan is cheaper than the pattern above.
_HINT = re.compile(r"authorization|token|secret|bearer|basic\s|gh[a-z]_|github_pat_|://[^/\s]*@", re.IGNORECASE)


def redact(text: str) -> str:
    """Replace the values of `Authorization`, `token=`, `access_token=`, `secret=`, URL passwords and GitHub's token
    forms (`gh?_…`, `github_pat_…`) wherever they appear: headers, queries, JSON, reprs, tracebacks."""
    if _HINT.search(text) is None:
        return text
    return _SECRET.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    kept = match["header"] or match["parameter"] or match["scheme"] or match["userinfo"] or ""
    return kept + REDACTED

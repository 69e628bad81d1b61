"""What may be a trending page at all, and how the texts, addresses and counts in its HTML are read."""

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

PAGE_LIMIT_BYTES = 4 * 1024 * 1024
"""What a caller should read of a page at most; more is refused here. Pages of 2021 to 2026 have 0.5 to 0.76 MB."""
TAG_LIMIT = 25_000
"""Pages have up to 8,700. HTML's nesting rules cost the square of the depth: 25,000 open `<div>` take a second."""
COUNT = r"[0-9]{1,3}(?:[,，،٬][0-9]{3}){1,4}|[0-9]{1,15}"
"""Expression for a whole number, with commas of any kind."""
_ONE_COUNT = re.compile(rf"[^0-9]*(?<![.,-])({COUNT})(?![\w.,，،٬+])(?!\s*[kKmM]\b)[^0-9]*")


class TrendingParseError(Exception):
    """The HTML is not a trending page that can be read; the message says why, without any of its text."""


class PageNotReady(TrendingParseError):
    """GitHub says that it is still making the page: nothing is wrong with it, nor with how it is read."""


def read_html(html: str | bytes) -> LexborHTMLParser:
    """The document. Raises TrendingParseError for HTML that is cut or too large; bytes are UTF-8."""
    content = html.encode("utf-8", "replace") if isinstance(html, str) else html
    if len(content) > PAGE_LIMIT_BYTES or content.count(b"<") > TAG_LIMIT:
        raise TrendingParseError("The page is larger than any trending page.")
    lowered = content.lower()
    # Every recorded page closes what it opens; an excerpt may lack <html>, and then has only its rows to close.
    is_cut = b"<html" in lowered and b"</html" not in lowered
    if is_cut or lowered.count(b"<article") > lowered.count(b"</article"):
        raise TrendingParseError("The page is cut.")
    return LexborHTMLParser(content.decode("utf-8", "replace"))


def text_of(node: LexborNode | None, separator: str = "") -> str:
    """All text within, with single spaces; `separator` stands between elements. Empty for None."""
    return " ".join(node.text(separator=separator).split()) if node else ""


def path_of(link: LexborNode) -> str:
    """The path of a link's address on GitHub, without query and fragment; elsewhere the whole address."""
    address = (link.attrs.get("href") or "").removeprefix("https://github.com")
    return address.partition("#")[0].partition("?")[0]


def picture_url(picture: LexborNode | None) -> str | None:
    """The address of an `img`; None if it is no web address."""
    source = picture.attrs.get("src") if picture else None
    return source if source and re.match("https?://", source) else None


def count_of(node: LexborNode) -> int | None:
    """The one whole number of a text, or None: "1.2k" is a rounded number and "1.234" could be two things."""
    found = _ONE_COUNT.fullmatch(text_of(node))
    return whole_number(found[1]) if found else None


def whole_number(text: str) -> int:
    """The value of what COUNT matches."""
    return int(re.sub(r"\D", "", text))

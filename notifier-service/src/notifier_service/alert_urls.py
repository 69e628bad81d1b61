"""ALERT_URLS: which of apprise's addresses alerts may go to, and how several are written in one setting. Pure."""

import re

SCHEMES = ("wecombot", "dingtalk", "feishu", "lark", "tgram", "mailto", "mailtos")
"""WeCom, DingTalk, Feishu, Lark, Telegram, e-mail: what operators asked for, of the hundred that apprise knows."""
# A URL may hold commas of its own (`?to=a,b`): the next one begins where a scheme does.
_SEPARATOR = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")


def split_alert_urls(text: str) -> list[str]:
    """The URLs in a setting. Raises ValueError, which names a scheme at most."""
    urls = [url for url in _SEPARATOR.split(text.strip(" \t\r\n,")) if url]
    for url in urls:
        scheme, separator, rest = url.partition("://")
        if not separator or not rest:
            raise ValueError("should be URLs, as wecombot://key, separated by commas")
        if scheme.lower() not in SCHEMES:
            raise ValueError(f"does not take {scheme[:20]}://; it takes {', '.join(f'{one}://' for one in SCHEMES)}")
    return urls

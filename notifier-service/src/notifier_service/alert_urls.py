"""ALERT_URLS: which of apprise's addresses alerts may go to, and how several are written in one setting."""

import logging
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


def check_alert_urls(urls: list[str]) -> None:
    """Whether apprise can read them. Raises ValueError, which tells of one by its number."""
    if not urls:
        return
    try:
        import apprise
    except ImportError:
        raise ValueError("needs apprise: pip install 'wegit-notifier-service[alerts]'") from None
    logger = logging.getLogger("apprise")
    logger.disabled = True  # it would quote what it cannot read
    try:
        for number, url in enumerate(urls, 1):
            if apprise.Apprise.instantiate(url) is None:
                raise ValueError(f"apprise cannot read URL number {number}; its documents say what each scheme wants")
    finally:
        logger.disabled = False

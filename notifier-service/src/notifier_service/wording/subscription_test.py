"""The kind `subscription.test`: what an operator sends to see whether an endpoint works."""

from collections.abc import Mapping
from typing import Any, Literal

from notifier_service.wording.parts import Line, Wording

TITLE = {"en": "A test message from WeGit", "zh": "来自 WeGit 的测试消息"}
TEXT = {"en": "This endpoint receives messages.", "zh": "此处可以正常接收消息。"}


def word(_body: Mapping[str, Any], language: Literal["en", "zh"], _occurrences: int) -> Wording:
    """The same for everybody."""
    title, text = TITLE[language], TEXT[language]
    return Wording(title=Line(title), lines=(Line(text),), facts={"title": title, "text": text, "repository": title})

"""The kind `alert`: something that operators of WeGit should look at."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from notifier_service.wording.parts import Line, Wording
from service_kit.alerts import Alert

TRACEBACK_LIMIT_CHARACTERS = 2500
TITLE = {"en": "{service}: {error} at {where}", "zh": "{service}：{error}，位置 {where}"}
MORE = {"en": "and {count} more alerts:", "zh": "另有 {count} 条告警："}
OTHERS = {"en": "{count} × others", "zh": "{count} × 其他"}
MOST_KINDS = 10
REPEATED = {"en": ", {occurrences} times so far", "zh": "，至今 {occurrences} 次"}


def word(body: Mapping[str, Any], language: Literal["en", "zh"], occurrences: int) -> Wording:
    """A long traceback keeps its end, where the error is. Raises msgspec.ValidationError."""
    alert = msgspec.convert(body, Alert)
    said = {"service": alert.service, "error": alert.error, "where": alert.where, "minute": alert.minute}
    repeated = REPEATED[language].format(occurrences=occurrences) if occurrences > 1 else ""
    return Wording(
        title=Line(TITLE[language].format(**said)),
        lines=tuple(Line(text) for text in (f"{alert.minute}{repeated}", alert.message) if text),
        code=alert.traceback[-TRACEBACK_LIMIT_CHARACTERS:],
        facts={**said, "message": alert.message, "occurrences": str(occurrences)},
    )


def with_more(wording: Wording, kinds: Counter[tuple[str, str]], language: Literal["en", "zh"]) -> Wording:
    """The wording of one alert, and behind it a count of others by service and error, the most frequent first."""
    named = kinds.most_common(MOST_KINDS)
    lines = [MORE[language].format(count=kinds.total())]
    lines += [f"{count} × {service}: {error}" for (service, error), count in named]
    rest = kinds.total() - sum(count for _, count in named)
    if rest:
        lines.append(OTHERS[language].format(count=rest))
    return msgspec.structs.replace(wording, lines=(*wording.lines, *map(Line, lines)))

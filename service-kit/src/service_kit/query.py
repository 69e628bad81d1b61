"""Query and path parameters: strict decoding, and errors that name the parameter. Pure."""

from collections.abc import Collection
from urllib.parse import unquote_to_bytes

from service_kit.errors import InvalidParameter, UnprocessableParameter

TEXT_LIMIT_CHARACTERS = 5000
_HEX = frozenset("0123456789abcdefABCDEF")


def decode(parameter: str, raw: str, *, plus_is_space: bool = False) -> str:
    """Percent-decode one component once, as UTF-8.

    Raises InvalidParameter for a malformed escape, bytes that are no UTF-8, and control characters.
    """
    for position, character in enumerate(raw):
        if character == "%" and not (len(raw) >= position + 3 and set(raw[position + 1 : position + 3]) <= _HEX):
            raise InvalidParameter(parameter, "has a % that is not followed by two hexadecimal digits.")
    try:
        text = unquote_to_bytes(raw.replace("+", " ") if plus_is_space else raw).decode()
    except UnicodeDecodeError:
        raise InvalidParameter(parameter, "is not UTF-8 once percent-decoded.") from None
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise InvalidParameter(parameter, "has a control character.")
    return text


class Query:
    """The parameters of one query string, decoded when they are asked for. Unknown ones are ignored."""

    def __init__(self, raw: str, *, plus_is_space: bool = True) -> None:
        """`raw` is the query as sent, without `?`. The original client sends a bare `+` for a plus sign."""
        self._plus_is_space = plus_is_space
        self._raw: dict[str, list[str]] = {}
        for pair in raw.split("&"):
            name, _, value = pair.partition("=")
            self._raw.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def text(
        self, name: str, *, most_characters: int = TEXT_LIMIT_CHARACTERS, plus_is_space: bool | None = None
    ) -> str | None:
        """The parameter's text, stripped; None if absent or empty. `plus_is_space` overrides the query's own rule.

        Raises InvalidParameter when it is given twice, malformed or too long.
        """
        values = self._raw.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise InvalidParameter(name, "is given more than once.")
        plus_is_space = self._plus_is_space if plus_is_space is None else plus_is_space
        text = decode(name, values[0], plus_is_space=plus_is_space).strip()
        if len(text) > most_characters:
            raise InvalidParameter(name, f"is longer than {most_characters} characters.")
        return text or None

    def required(self, name: str, *, most_characters: int = TEXT_LIMIT_CHARACTERS) -> str:
        """As `text`; raises InvalidParameter when it is absent or empty."""
        text = self.text(name, most_characters=most_characters)
        if text is None:
            raise InvalidParameter(name, "is missing.")
        return text

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """One of `choices`; the default if absent. Raises UnprocessableParameter for anything else."""
        text = self.text(name)
        if text is None:
            return default
        if text not in choices:
            raise UnprocessableParameter(name, f"should be one of {', '.join(choices)}.", nearest=tuple(choices))
        return text

    def page(self, *, most: int) -> int:
        """The parameter `page`, 1 if absent.

        Raises InvalidParameter when it is no number from 1, UnprocessableParameter when it lies beyond `most`.
        """
        text = self.text("page")
        if text is None:
            return 1
        if not (text.isascii() and text.isdigit() and int(text[:10]) >= 1):
            raise InvalidParameter("page", "should be a whole number from 1.")
        if len(text) > 9 or int(text) > most:
            raise UnprocessableParameter("page", f"lies beyond the last page that is served, {most}.")
        return int(text)

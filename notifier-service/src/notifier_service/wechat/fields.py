"""What fits into the fields of a WeChat template, by type. Pure.

Rules: "参数值限制" of subscribeMessage.send (developers.weixin.qq.com). WeChat does not say what it counts as a
character; the UTF-16 unit counted here is the smallest it can be, so that a value never is too long.
"""

import unicodedata
from collections.abc import Callable

import regex

from notifier_service.wording.shortening import shortened

NOTHING = "-"
"""For a field that would be empty: WeChat refuses the whole message for one."""
_CONTROL = regex.compile(r"[\p{Cc}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]+")
_SPACES = regex.compile(r"\s+")
_NUMBER = regex.compile(r"-?[0-9][0-9,]*(?:\.[0-9]+)?")
_TYPE = regex.compile(r"([a-z_]+?)([0-9]{1,3})")


def check_field(name: str) -> None:
    """Raises ValueError for what is no name of a template's field, as `thing1`, of a type that is known here."""
    match = _TYPE.fullmatch(name)
    if match is None or match[1] not in _FITS:
        raise ValueError(f"{name[:40]!r} is no field of a template; there are {', '.join(_FITS)}, each with a number")


def fit(name: str, value: str) -> str:
    """`value` as the field `name` of a template takes it: shortened, or `-` (`0` for numbers) where nothing is left."""
    match = _TYPE.fullmatch(name)
    fits = _FITS[match[1]] if match else _FITS["thing"]
    plain = _SPACES.sub(" ", _CONTROL.sub(" ", value)).strip()
    return fits(plain)


def _text(units: int) -> Callable[[str], str]:
    return lambda value: shortened(value, units) or NOTHING


def _only(allowed: str, units: int, *, otherwise: str = NOTHING) -> Callable[[str], str]:
    """What is not allowed is left out, and what is too long is cut: an ellipsis would not be allowed."""
    refused = regex.compile(f"[^{allowed}]+")
    return lambda value: refused.sub("", unicodedata.normalize("NFKC", value))[:units].strip() or otherwise


def _number(value: str) -> str:
    """The first number in it; one of more than 32 digits is none."""
    match = _NUMBER.search(value)
    digits = match[0].replace(",", "") if match else "0"
    return digits if len(digits) <= 32 else "0"


def _amount(value: str) -> str:
    """A currency sign, at most ten digits and their decimals."""
    match = regex.search(r"([\p{Sc}]?)\s*([0-9][0-9,]*)((?:\.[0-9]{1,2})?)", value)
    if match is None or len(match[2].replace(",", "")) > 10:
        return "0"
    return f"{match[1]}{match[2].replace(',', '')}{match[3]}"


def _name(value: str) -> str:
    """At most ten characters if one of them is Chinese, else twenty letters or symbols; digits are not for names."""
    letters = regex.sub(r"[^\p{L}\p{M}\p{P}\p{S} ]+", "", value).strip()
    return shortened(letters, 10 if regex.search(r"\p{Han}", letters) else 20) or NOTHING


def _first(pattern: str) -> Callable[[str], str]:
    """The first thing of this form in it."""
    compiled = regex.compile(pattern)

    def find(value: str) -> str:
        match = compiled.search(value)
        return match[0] if match else NOTHING

    return find


_TIME = r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?"
_DATE = r"(?:[0-9]{4}年(?:[0-9]{1,2}月(?:[0-9]{1,2}日)?)?|[0-9]{1,2}月[0-9]{1,2}日|[0-9]{4}(?:[-/.][0-9]{1,2}){1,2})"
_FITS: dict[str, Callable[[str], str]] = {
    "thing": _text(20),
    "number": _number,
    "letter": _only("A-Za-z", 32),
    "symbol": _only(r"\p{P}\p{S}", 5),
    "character_string": _only(r"\x21-\x7e", 32),
    "time": _first(rf"(?:{_DATE} ?)?{_TIME}"),
    "date": _first(rf"{_DATE}(?: {_TIME})?"),
    "amount": _amount,
    "phone_number": _only(r"0-9+\-", 17),
    "car_number": _only(r"\p{Han}A-Z0-9", 8),
    "name": _name,
    "phrase": _only(r"\p{Han}", 5),
}

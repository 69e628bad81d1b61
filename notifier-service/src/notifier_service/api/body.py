"""A request's JSON body as a typed value, or an error that names the field. Pure."""

import re
from typing import TypeVar

import msgspec

from service_kit.errors import InvalidParameter, InvalidRequest

T = TypeVar("T")
_PATH = re.compile(r" - at `\$\.?(?P<field>[^`]*)`$")
_NAMED = re.compile(r"^Object (?:missing required|contains unknown) field `(?P<field>[^`]*)`")


def decode_body(body: bytes, wanted: type[T]) -> T:
    """Decode strictly. Raises InvalidParameter naming the field (`endpoint.address`), InvalidRequest for no JSON."""
    try:
        return msgspec.json.decode(body, type=wanted)
    except msgspec.ValidationError as error:
        raise _naming_field(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}") from None


def convert_body(value: object, wanted: type[T]) -> T:
    """The same for what has been decoded already. Raises InvalidParameter."""
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise _naming_field(str(error)) from None


def _naming_field(complaint: str) -> InvalidParameter | InvalidRequest:
    path = _PATH.search(complaint)
    field = path["field"] if path else ""
    text = complaint[: path.start()] if path else complaint
    if named := _NAMED.match(text):
        field = f"{field}.{named['field']}" if field else named["field"]
        text = "is missing." if "missing" in text[: named.start("field")] else "is not known here."
        return InvalidParameter(field, text)
    text = text.replace("`", "").rstrip(".")
    return InvalidParameter(field, f"{text}.") if field else InvalidRequest(f"{text}.")

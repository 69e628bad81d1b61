"""Where a subscription's messages go: what each kind of address looks like, and how much of one is ever shown. Pure."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from notifier_service.channels.channel import Kind
from notifier_service.standard_webhooks import check_secret, new_secret
from notifier_service.subscription import TEXT_LANGUAGES, Short, one_of
from service_kit.errors import InvalidParameter, UnprocessableParameter


class Target(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One place to deliver to, as whoever subscribes names it."""

    channel: Short
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    """A webhook's URL, an openid, …: what the channel takes. Never shown again in full."""
    secret: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    """Of a webhook: `whsec_…`; absent: one is made, and shown once."""
    language: Short = "en"
    """Of the texts."""
    config: dict[str, Any] = {}
    """What else the channel wants to know."""


def complete_target(target: Target, kinds: Mapping[str, Kind]) -> Target:
    """The target with its secret, in the form in which it is kept.

    Raises InvalidParameter and UnprocessableParameter, which name the field and quote no address.
    """
    one_of("endpoint.channel", target.channel, kinds)
    one_of("endpoint.language", target.language, TEXT_LANGUAGES)
    kind = kinds[target.channel]
    if target.secret is not None and not kind.is_signed:
        raise UnprocessableParameter("endpoint.secret", f"does not apply to the channel {target.channel}.")
    field, secret = "endpoint.secret", target.secret or (new_secret() if kind.is_signed else None)
    try:
        if secret is not None:
            check_secret(secret)
        field = "endpoint.address"
        address = kind.check_address(target.address, target.config)
    except ValueError as error:
        raise InvalidParameter(field, f"{error}.") from None
    return msgspec.structs.replace(target, address=address, secret=secret)


def shown(address: str) -> str:
    """What may be shown of an address: of a URL where it leads, of anything else its end."""
    parts = urlsplit(address)
    if parts.scheme and parts.hostname:
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}/…"
    return f"…{address[-4:]}" if len(address) >= 12 else "…"

"""A WeChat template as an endpoint's `config` has it, and what it makes of a message. Pure."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec

from notifier_service.wechat.fields import check_field, fit
from notifier_service.wording import Language
from notifier_service.wording.parts import Wording

_FACT = re.compile(r"\{([a-z_]+)\}")
_OPENID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which template, and what fills its fields."""

    template_id: _Text
    fields: Annotated[dict[str, _Text], msgspec.Meta(min_length=1, max_length=20)]
    """By the template's field (`thing1`), which fact of the message goes there (`repository`)."""
    page: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    """Where a tap leads in the mini-program; `{owner}` and the like are replaced. Empty: nowhere."""
    state: Literal["developer", "trial", "formal"] = "formal"
    """Which version of the mini-program it leads to."""


def read_template(config: Mapping[str, Any]) -> Template:
    """Raises ValueError, whose text is for whoever subscribes."""
    try:
        template = msgspec.convert(config, Template)
    except msgspec.ValidationError as error:
        raise ValueError(f"config is no WeChat template: {error}") from None
    for name in template.fields:
        check_field(name)
    return template


def check_openid(address: str, config: Mapping[str, Any]) -> str:
    """A user's openid for a mini-program. Raises ValueError."""
    read_template(config)
    if not _OPENID.fullmatch(address):
        raise ValueError("should be an openid")
    return address


def send_body(template: Template, openid: str, wording: Wording, language: Language) -> dict[str, Any]:
    """The body of subscribeMessage.send; every field has a value that fits its type."""
    facts = wording.facts
    body = {
        "touser": openid,
        "template_id": template.template_id,
        "data": {name: {"value": fit(name, facts.get(fact, ""))} for name, fact in template.fields.items()},
        "miniprogram_state": template.state,
        "lang": "zh_CN" if language == "zh" else "en_US",
    }
    if template.page:
        body["page"] = _FACT.sub(lambda match: quote(facts.get(match[1], ""), safe=""), template.page)
    return body

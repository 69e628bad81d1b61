"""README HTML: what of GitHub's rendering may reach a client. Pure."""

import nh3

_ATTRIBUTES = {
    "*": {"align", "dir", "lang", "title"},
    "a": {"href", "name"},
    "img": {"src", "alt", "width", "height"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
    "ol": {"start"},
    "details": {"open"},
    "source": {"srcset", "media"},
}
_TAGS = nh3.ALLOWED_TAGS | {"input", "picture", "source", "section"}
# GitHub's task lists are disabled checkboxes; an input of any other kind would be a form.
_INPUT_KEPT = {"input": {"checked": {""}, "disabled": {""}}}
_INPUT_FORCED = {"input": {"type": "checkbox"}}


def sanitise(html: str) -> str:
    """Keep text structure, links and images; drop scripts, styles, forms, event handlers and every URL that is not
    http, https, mailto or relative. Links get `rel="noopener noreferrer"`."""
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        tag_attribute_values=_INPUT_KEPT,
        set_tag_attribute_values=_INPUT_FORCED,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
    )

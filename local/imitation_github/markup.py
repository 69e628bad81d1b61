"""What makes a GitHub page as large as it is: icons drawn in place, and attributes that track clicks."""

import hashlib
import json
from functools import cache
from html import escape

_STROKE = "M8 .25a.75.75 0 0 1 .673.418l1.5 4.1 4.4.3a.8.8 0 0 1 .4 1.3l-3.2 2.9 1 4.3a.8.8 0 0 1-1.1.8Z"


@cache
def icon(classes: str, label: str | None = None) -> str:
    """An SVG; `classes` begins with the icon's name."""
    hidden = f'aria-label="{label}" role="img"' if label else 'aria-hidden="true"'
    return (
        f'<svg {hidden} data-component="Octicon" height="16" viewBox="0 0 16 16" version="1.1" width="16"'
        f' data-view-component="true" class="octicon octicon-{classes}">\n    <path d="{_STROKE * 4}"></path>\n</svg>'
    )


@cache
def tracked(kind: str, subject: str) -> str:
    """The attributes that report a click, with a leading space."""
    payload = {
        "click_context": "TRENDING_PAGE",
        "click_target": subject,
        "click_visual_representation": "MADE_UP",
        "actor_id": None,
        "record_id": None,
        "originating_url": "https://github.com/trending",
        "user_id": None,
    }
    told = escape(json.dumps({"event_type": kind, "payload": payload}, separators=(",", ":")))
    return f' data-hydro-click="{told}" data-hydro-click-hmac="{hashlib.sha256(told.encode()).hexdigest()}"'

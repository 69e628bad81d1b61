"""Answers: JSON with validators and lifetimes, the `/v1` envelope, and `Link` with relative references."""

import hashlib
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
from aiohttp import web

_encode = msgspec.json.Encoder().encode


class Meta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What stands beside `data` in a `/v1` answer. Absent members do not apply to the answer."""

    as_of: datetime | msgspec.UnsetType = msgspec.UNSET
    """When GitHub said so, UTC."""
    stale: bool | msgspec.UnsetType = msgspec.UNSET
    """True when GitHub could not be asked and this is an older copy."""
    page: int | msgspec.UnsetType = msgspec.UNSET
    next_page: int | None | msgspec.UnsetType = msgspec.UNSET
    """None on the last page."""
    total_count: int | msgspec.UnsetType = msgspec.UNSET
    """Everything found, of which GitHub serves the first 1,000."""
    incomplete_results: bool | msgspec.UnsetType = msgspec.UNSET
    """True when GitHub's search ran out of time."""


def json_answer(
    request: web.Request, data: Any, *, lifetime_seconds: int | None, headers: dict[str, str] | None = None
) -> web.Response:
    """A bare JSON answer, as the original client reads it; `lifetime_seconds` None makes it private and unstored."""
    body = _encode(data)
    return _answer(request, body, _etag(body, stale=False), lifetime_seconds, None, headers)


def envelope(
    request: web.Request,
    data: Any,
    meta: Meta,
    *,
    lifetime_seconds: int | None,
    last_page: int | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """A `/v1` answer: `{"data": …, "meta": …}`, with `Link` where `meta.page` is set.

    `lifetime_seconds` None marks an answer to a caller's own token: private, not stored, without validators.
    """
    headers = dict(headers or {})
    links = _links(request, meta, last_page)
    if links:
        headers["Link"] = links
    as_of = meta.as_of if isinstance(meta.as_of, datetime) else None
    encoded = _encode(data)
    tag = _etag(encoded, stale=meta.stale is True)
    body = b'{"data":%b,"meta":%b}' % (encoded, _encode(meta))
    return _answer(request, body, tag, lifetime_seconds, as_of, headers)


def _answer(
    request: web.Request,
    body: bytes,
    tag: str,
    lifetime_seconds: int | None,
    as_of: datetime | None,
    headers: dict[str, str] | None,
) -> web.Response:
    headers = dict(headers or {})
    if lifetime_seconds is None:
        headers["Cache-Control"] = "private, no-store"
        return web.Response(body=body, content_type="application/json", headers=headers)
    headers["Cache-Control"] = f"public, max-age={lifetime_seconds}"
    headers["ETag"] = tag
    # With a token of one's own the same address may have another answer, which is not stored anywhere.
    headers["Vary"] = ", ".join(filter(None, (headers.get("Vary"), "Authorization")))
    if as_of is not None:
        headers["Last-Modified"] = format_datetime(as_of, usegmt=True)
    if _matches(request.headers.get("If-None-Match", ""), tag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)


def _etag(encoded: bytes, *, stale: bool) -> str:
    # Weak, and over what the reader sees change: `as_of` moves with each fetch and must not spoil the tag.
    digest = hashlib.blake2b(encoded, digest_size=12, person=b"stale" if stale else b"fresh").hexdigest()
    return f'W/"{digest}"'


def _matches(if_none_match: str, tag: str) -> bool:
    """RFC 9110, 13.1.2: a list of tags compared weakly, or `*`."""
    offered = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return "*" in offered or tag.removeprefix("W/") in offered


def _links(request: web.Request, meta: Meta, last_page: int | None) -> str:
    """Relative references (RFC 8288): right behind any host name and prefix."""
    if not isinstance(meta.page, int):
        return ""
    pages: dict[Literal["first", "prev", "next", "last"], int | None] = {
        "first": 1 if meta.page > 1 else None,
        "prev": meta.page - 1 if meta.page > 1 else None,
        "next": meta.next_page if isinstance(meta.next_page, int) else None,
        "last": last_page,
    }
    kept = [(name, value) for name, value in request.rel_url.query.items() if name != "page"]
    return ", ".join(
        f'<?{urlencode([*kept, ("page", number)])}>; rel="{relation}"'
        for relation, number in pages.items()
        if number is not None
    )

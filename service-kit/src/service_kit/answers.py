"""Answers: JSON with validators and freshness, the `/v1` envelope, and `Link` with relative references."""

import hashlib
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

import msgspec
from aiohttp import web

_encode = msgspec.json.Encoder().encode


class Meta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What stands beside `data` in a `/v1` answer. Absent members do not apply to the answer."""

    as_of: datetime | msgspec.UnsetType = msgspec.UNSET
    """When GitHub said so, UTC."""
    stale: bool | msgspec.UnsetType = msgspec.UNSET
    """True when this is older than its lifetime: GitHub could not be asked, or is being asked now."""
    missing: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    """The parts of `data` that could not be had now; they may exist."""
    page: int | msgspec.UnsetType = msgspec.UNSET
    next_page: int | None | msgspec.UnsetType = msgspec.UNSET
    """None on the last page."""
    total_count: int | msgspec.UnsetType = msgspec.UNSET
    """Everything found, of which GitHub serves the first 1,000."""
    incomplete_results: bool | msgspec.UnsetType = msgspec.UNSET
    """True when GitHub's search ran out of time."""


class Freshness(NamedTuple):
    """How old what is answered is, and for how long it may be reused (seconds)."""

    seconds_left: int
    """Until it is older than its lifetime; negative for so long it has been."""
    as_of: datetime | None = None
    """When GitHub said so, UTC; None for what is our own knowledge."""
    revalidate_seconds: int = 0
    """For how long after its lifetime it may be used while it is renewed."""
    if_error_seconds: int = 0
    """For how long after its lifetime it may be used while it cannot be renewed."""
    is_private: bool = False
    """True for an answer to a caller's own token: stored nowhere else."""
    is_copy: bool = False
    """True unless GitHub was asked for this very answer."""

    @property
    def is_stale(self) -> bool:
        """Older than its lifetime: GitHub could not be asked, or is being asked now."""
        return self.seconds_left < 0

    @property
    def cache_control(self) -> str:
        """The header's value."""
        if self.is_private:
            return "private, no-store"
        stated = f"public, max-age={max(self.seconds_left, 0)}"
        if self.revalidate_seconds:
            stated += f", stale-while-revalidate={self.revalidate_seconds}"
        return f"{stated}, stale-if-error={self.if_error_seconds}" if self.if_error_seconds else stated

    @property
    def cache_status(self) -> str:
        """RFC 9211: a negative `ttl` tells of staleness where the body has no room for it."""
        return f"wegit; hit; ttl={self.seconds_left}" if self.is_copy else "wegit; fwd=miss"


def json_answer(
    request: web.Request, data: Any, freshness: Freshness, *, headers: dict[str, str] | None = None
) -> web.Response:
    """A bare JSON answer, as the original client reads it."""
    body = _encode(data)
    return _answer(request, body, body, freshness, headers)


def envelope(
    request: web.Request,
    data: Any,
    meta: Meta,
    freshness: Freshness,
    *,
    last_page: int | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """A `/v1` answer: `{"data": …, "meta": …}`, with `Link` where `meta.page` is set.

    `data` that is bytes is JSON already. `meta.as_of` and `meta.stale` are filled in from the freshness.
    """
    headers = dict(headers or {})
    if links := _links(request, meta, last_page):
        headers["Link"] = links
    if freshness.as_of is not None:
        meta.as_of, meta.stale = freshness.as_of, freshness.is_stale
    encoded = data if isinstance(data, bytes) else _encode(data)
    return _answer(request, b'{"data":%b,"meta":%b}' % (encoded, _encode(meta)), encoded, freshness, headers)


def _answer(
    request: web.Request, body: bytes, tagged: bytes, freshness: Freshness, headers: dict[str, str] | None
) -> web.Response:
    headers = dict(headers or {})
    headers["Cache-Control"] = freshness.cache_control
    if freshness.as_of is not None:
        headers["Cache-Status"] = freshness.cache_status
    if freshness.is_private:
        return web.Response(body=body, content_type="application/json", headers=headers)
    tag = headers["ETag"] = _etag(tagged, stale=freshness.is_stale)
    # With a token of one's own the same address may have another answer, which is not stored anywhere.
    headers["Vary"] = ", ".join(filter(None, (headers.get("Vary"), "Authorization")))
    if freshness.as_of is not None:
        headers["Last-Modified"] = _http_date(freshness.as_of)
    if _matches(request.headers.get("If-None-Match", ""), tag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)


@lru_cache(maxsize=1024)
def _http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


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

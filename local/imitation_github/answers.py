"""What every REST answer has: GitHub's headers, ETags and 304s, paging, error bodies."""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import unquote_plus

from aiohttp import web

from local.imitation_github.credentials import Caller
from local.imitation_github.objects import Json

API_VERSIONS = ("2022-11-28", "2026-03-10")
RETIRED_API_VERSIONS = ("2021-10-06",)
DOCS = "https://docs.github.com/rest"
T = TypeVar("T")
_EXPOSED = (
    "ETag, Link, Location, Retry-After, X-GitHub-OTP, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Used,"
    " X-RateLimit-Resource, X-RateLimit-Reset, X-OAuth-Scopes, X-Accepted-OAuth-Scopes, X-Poll-Interval,"
    " X-GitHub-Media-Type, X-GitHub-SSO, X-GitHub-Request-Id, Deprecation, Sunset"
)


class Refused(Exception):
    """Answered with an error: GitHub's status and words."""

    def __init__(self, status: int, message: str, docs: str = "", **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"message": message, **more, "documentation_url": f"{DOCS}{docs}", "status": str(status)}


def not_found(docs: str = "") -> Refused:
    """The 404 that missing things and private ones share."""
    return Refused(404, "Not Found", docs)


def validation_failed(field: str, code: str, message: str | None = None) -> Refused:
    """The 422 of a search that cannot be."""
    error = {"message": message} if message else {}
    errors = [{**error, "resource": "Search", "field": field, "code": code}]
    return Refused(422, "Validation Failed", errors=errors)


class Answer:
    """A successful answer before it has its headers. `last_modified` and `is_revalidated` make 304s possible."""

    def __init__(
        self,
        body: bytes | object,
        *,
        status: int = 200,
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        last_modified: datetime | None = None,
        is_revalidated: bool = True,
        accepted_scopes: str = "",
    ) -> None:
        self.body = body if isinstance(body, bytes) else encode(body)
        self.status = status
        self.media_type = media_type
        self.headers = dict(headers or {})
        self.last_modified = last_modified
        self.is_revalidated = is_revalidated
        self.accepted_scopes = accepted_scopes


def encode(body: object) -> bytes:
    """JSON in UTF-8, without spaces."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def respond(request: web.Request, answer: Answer, caller: Caller) -> web.Response:
    """The whole answer: 304 where the request's validators still hold. Rate-limit headers come later."""
    headers = standard_headers(answer.media_type) | credential_headers(caller, answer.accepted_scopes) | answer.headers
    headers["X-GitHub-Media-Type"] = _media_type_told(answer.media_type)
    headers["x-github-api-version-selected"] = request.headers.get("X-GitHub-Api-Version", API_VERSIONS[0])
    if not answer.is_revalidated:
        headers["Cache-Control"] = "no-cache"
        headers["Vary"] = "Accept-Encoding, Accept, X-Requested-With"
    elif answer.status == 200:
        audience = "private" if caller.has_credential else "public"
        varied = "Accept, Authorization, Cookie, X-GitHub-OTP" if caller.has_credential else "Accept"
        headers["Cache-Control"] = f"{audience}, max-age=60, s-maxage=60"
        headers["Vary"] = f"{varied},Accept-Encoding, Accept, X-Requested-With"
        etag = headers["ETag"] = _etag(request, answer.body)
        if answer.last_modified:
            headers["Last-Modified"] = format_datetime(answer.last_modified.astimezone(UTC), usegmt=True)
        if _is_unchanged(request, etag, answer.last_modified):
            del headers["Content-Type"]
            return web.Response(status=304, headers=headers)
    response = web.Response(status=answer.status, headers=headers, body=answer.body)
    response.enable_compression()
    return response


def refuse(refused: Refused, caller: Caller | None = None) -> web.Response:
    """The answer to what is refused."""
    headers = standard_headers("application/json") | (credential_headers(caller, "") if caller else {})
    headers |= {"X-GitHub-Media-Type": "github.v3; format=json", "Vary": "Accept-Encoding, Accept, X-Requested-With"}
    headers["x-github-api-version-selected"] = API_VERSIONS[0]
    return web.Response(status=refused.status, headers=headers, body=encode(refused.body))


def standard_headers(media_type: str) -> dict[str, str]:
    """What the API says each time, whatever the answer."""
    number = secrets.token_hex(12).upper()
    return {
        "Content-Type": f"{media_type}; charset=utf-8",
        "Access-Control-Expose-Headers": _EXPOSED,
        "Access-Control-Allow-Origin": "*",
        "Strict-Transport-Security": "max-age=31536000; includeSubdomains; preload",
        "X-Frame-Options": "deny",
        "X-Content-Type-Options": "nosniff",
        "X-XSS-Protection": "0",
        "Referrer-Policy": "origin-when-cross-origin, strict-origin-when-cross-origin",
        "Content-Security-Policy": "default-src 'none'",
        "Server": "github.com",
        "X-GitHub-Request-Id": f"{number[:4]}:{number[4:9]}:{number[9:16]}:{number[16:23]}:{number[-8:]}",
    }


def credential_headers(caller: Caller, accepted_scopes: str) -> dict[str, str]:
    """What a classic token's scopes are, and when a token expires."""
    headers: dict[str, str] = {}
    if caller.scopes is not None:
        headers |= {"X-OAuth-Scopes": ", ".join(caller.scopes), "X-Accepted-OAuth-Scopes": accepted_scopes}
    if caller.expires:
        headers["github-authentication-token-expiration"] = caller.expires
    return headers


def page_number(request: web.Request, name: str, otherwise: int, most: int) -> int:
    """`page` or `per_page`; what is no number, or none that can be, is taken for the usual one."""
    text = request.query.get(name, "")
    return min(int(text), most) if text.isascii() and text.isdigit() and int(text[:9]) > 0 else otherwise


def page_of(items: Sequence[T], page: int, per_page: int) -> Sequence[T]:
    """The items of one page."""
    return items[(page - 1) * per_page : page * per_page]


def link_header(request: web.Request, url: str, page: int, last: int, *, tells_last: bool = True) -> dict[str, str]:
    """`Link` for a page of a list: no header for a single page, no `next` and `last` on the last one.

    Other parameters keep their order and encoding; `page` stays where it was, or comes last.
    """
    pages = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    shown = [name for name in ("prev", "first") if page > 1] + [name for name in ("next", "last") if page < last]
    if not tells_last:
        shown = [name for name in shown if name == "next"]
    parameters = [part for part in request.raw_path.partition("?")[2].split("&") if part]
    links = []
    for name in (name for name in pages if name in shown):
        replaced = [
            f"page={pages[name]}" if unquote_plus(part.partition("=")[0]) == "page" else part for part in parameters
        ]
        if replaced == parameters and f"page={pages[name]}" not in parameters:
            replaced.append(f"page={pages[name]}")
        links.append(f'<{url}?{"&".join(replaced)}>; rel="{name}"')
    return {"Link": ", ".join(links)} if links else {}


def _etag(request: web.Request, body: bytes) -> str:
    # It depends on who asks and how, too: one caller's ETag never gives another a 304.
    asked = [request.headers.get(name, "") for name in ("Accept", "Authorization", "Cookie")]
    digest = hashlib.sha256(b"\0".join([body, *(part.encode() for part in asked)]))
    return f'W/"{digest.hexdigest()}"'


def _is_unchanged(request: web.Request, etag: str, last_modified: datetime | None) -> bool:
    known = request.headers.get("If-None-Match")
    if known is not None:
        weak = {part.strip().removeprefix("W/") for part in known.split(",")}
        return known.strip() == "*" or etag.removeprefix("W/") in weak
    since = request.headers.get("If-Modified-Since")
    if since is None or last_modified is None:
        return False
    try:
        return last_modified <= parsedate_to_datetime(since)
    except (ValueError, TypeError):
        return False


def _media_type_told(media_type: str) -> str:
    parameter = next((f" param={name};" for name in ("raw", "html") if f".{name}" in media_type), "")
    return f"github.v3;{parameter} format=json"

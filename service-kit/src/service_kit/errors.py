"""Errors: one class each with its HTTP status and code, and the one map from an error to an HTTP answer (RFC 9457)."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

import orjson
from aiohttp import web

from service_kit.request_id import current_request_id

PROBLEM_CONTENT_TYPE = "application/problem+json"

# The first client maps over these answers without reading the status: an object there kills its page, a list does not.
_ORIGINAL_LIST_PATH = re.compile(
    r"(?:/gitter)?/(?:trending-(?:repositories|developers|languages)|developers/[^/]+/events|search/repositories)/?"
)


class ServiceError(Exception):
    """Any failure that has an HTTP answer of its own."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str = "", *, retry_after_seconds: int | None = None, **members: Any) -> None:
        """`detail` is shown to the caller; `members` become members of the problem where not None."""
        super().__init__(detail)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
        self.members = members


class InvalidParameter(ServiceError):
    """A parameter has a form that it cannot have; `parameter` names it."""

    status = 400
    code = "invalid_parameter"

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(detail, parameter=parameter)


class UnprocessableParameter(ServiceError):
    """A well-formed parameter asks for what does not exist; `nearest` are names that do."""

    status = 422
    code = "unprocessable_parameter"

    def __init__(self, parameter: str, detail: str, *, nearest: tuple[str, ...] | None = None) -> None:
        super().__init__(detail, parameter=parameter, nearest=nearest)


class InvalidRequest(ServiceError):
    """The request line or body has a form that no endpoint takes."""

    status = 400
    code = "bad_request"


class MalformedRequest(InvalidRequest):
    """The bytes are no HTTP request that is spoken here."""

    code = "malformed_request"


class Unauthorized(ServiceError):
    """The caller's token is missing where one is needed, or was refused."""

    status = 401
    code = "unauthorized"


class Forbidden(ServiceError):
    """The caller's token does not reach this."""

    status = 403
    code = "forbidden"


class NotFound(ServiceError):
    """There is no such thing, or the caller may not know of it."""

    status = 404
    code = "not_found"


class Conflict(ServiceError):
    """What is asked for contradicts what is there."""

    status = 409
    code = "conflict"


class UnavailableForLegalReasons(ServiceError):
    """The upstream may not show it (RFC 7725)."""

    status = 451
    code = "unavailable_for_legal_reasons"


class UpstreamFault(ServiceError):
    """The upstream answered with a fault: a 5xx, a cut or unreadable body, a page that cannot be parsed."""

    status = 502
    code = "upstream_fault"


class UpstreamUnreachable(UpstreamFault):
    """No connection to the upstream: refused, reset, or its name unknown."""

    code = "upstream_unreachable"


class UpstreamTimeout(UpstreamFault):
    """The upstream did not answer within the deadline."""

    status = 504
    code = "upstream_timeout"


class UpstreamLimited(ServiceError):
    """The upstream's rate limit is used up; `retry_after_seconds` says when to come back."""

    status = 503
    code = "upstream_quota_exhausted"


class Unavailable(ServiceError):
    """Something of ours that this answer needs is away for the moment."""

    status = 503
    code = "unavailable"


class Overloaded(ServiceError):
    """More was asked at once than can be done well; better refused early than answered late."""

    status = 503
    code = "overloaded"


class UpstreamStatus(UpstreamFault):
    """The upstream answered with a status of 400 or more; who knows the upstream maps it further."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"The upstream answered with {status}.", upstream_status=status)
        self.upstream_status = status
        self.headers = headers
        self.body = body


def problem_response(error: ServiceError | web.HTTPException | None, path: str) -> web.Response:
    """The HTTP answer for an error: `application/problem+json`, or `[]` on the original client's list paths.

    None stands for an unexpected exception, of which nothing is told. `path` is the request's path without the query.
    """
    headers = {}
    members: dict[str, Any] = {}
    if error is None:
        status, code, detail = (
            500,
            "internal_error",
            "Something went wrong on our side; it has been reported.",
        )
    elif isinstance(error, ServiceError):
        status, code, detail = error.status, error.code, error.detail
        members = {name: value for name, value in error.members.items() if value is not None}
        if error.retry_after_seconds is not None:
            members["retry_after"] = error.retry_after_seconds
            headers["Retry-After"] = str(error.retry_after_seconds)
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
    else:
        status = error.status
        code = HTTPStatus(status).phrase.lower().replace(" ", "_")
        detail = _DETAILS.get(status, "")
        if "Allow" in error.headers:
            headers["Allow"] = error.headers["Allow"]
    headers["Cache-Control"] = "no-store"
    if _ORIGINAL_LIST_PATH.fullmatch(path):
        return web.Response(status=status, body=b"[]", content_type="application/json", headers=headers)
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": current_request_id(),
        **members,
    }
    return web.Response(status=status, body=orjson.dumps(problem), content_type=PROBLEM_CONTENT_TYPE, headers=headers)


_DETAILS = {
    404: "There is nothing at this path.",
    405: "This path does not take that method; Allow names those it takes.",
    408: "The request's body did not come in time.",
    413: "The request's body is too large.",
    417: "The request expects what is not done here.",
}

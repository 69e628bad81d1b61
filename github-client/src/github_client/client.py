"""The GitHub REST client: one GET with the right headers, credential, redirects and errors."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, overload
from urllib.parse import urlencode

import aiohttp
import msgspec
import structlog
from multidict import CIMultiDictProxy
from yarl import URL

from github_client.credentials import REFUSED_REST_SECONDS, Bucket, Credential, OperatorCredentials
from github_client.protocol import Limit, recognise_limit
from service_kit.client import Reply, fetch
from service_kit.errors import (
    Forbidden,
    NotFound,
    ServiceError,
    Unauthorized,
    UnavailableForLegalReasons,
    UpstreamFault,
    UpstreamLimited,
    UpstreamStatus,
)

API_VERSION = "2022-11-28"
USER_AGENT = "WeGit/0.1 (mini-program back end)"
TIMEOUT_SECONDS = 12.0
"""GitHub ends its own work on a request after 10 s; the gateway waits 15 s for us."""
BODY_LIMIT_BYTES = 8 * 1024 * 1024
REDIRECT_LIMIT = 3
JSON = "application/vnd.github+json"
log = structlog.get_logger()


Purpose = Literal["people", "background"]


class Validator(msgspec.Struct, frozen=True):
    """An ETag and the identity of the credential that got it: it holds for no other."""

    etag: str
    credential: str


class NotModified:
    """GitHub's answer is the one that the validator came with."""


class GitHubReply:
    """A successful answer, when it came (UTC) and by whose credential."""

    __slots__ = ("as_of", "body", "credential", "headers")

    @property
    def etag(self) -> str | None:
        """The answer's validator, None for those that have none (search)."""
        return self.headers.get("ETag")

    def __init__(self, reply: Reply, credential: Credential) -> None:
        self.body: bytes = reply.body
        self.headers: CIMultiDictProxy[str] = reply.headers
        self.as_of = datetime.now(UTC)
        self.credential = credential


class GitHubClient:
    """Asks api.github.com with the caller's credential, otherwise with the operator's in turn, otherwise with none."""

    def __init__(self, session: aiohttp.ClientSession, api_url: str, operator: OperatorCredentials) -> None:
        self._session = session
        self._api_url = api_url
        self._origin = URL(api_url).origin()
        self._operator = operator
        self._warned: set[str] = set()
        self.is_reachable = True
        """False while the last call found GitHub failing, unreachable or limited."""

    @overload
    async def get(
        self,
        path: str,
        parameters: Mapping[str, str | int] | None = None,
        *,
        caller: Credential | None,
        accept: str = JSON,
        purpose: Purpose = "people",
    ) -> GitHubReply: ...

    @overload
    async def get(
        self,
        path: str,
        parameters: Mapping[str, str | int] | None = None,
        *,
        caller: Credential | None,
        accept: str = JSON,
        validator: Validator | None,
        purpose: Purpose = "people",
    ) -> GitHubReply | NotModified: ...

    async def get(
        self,
        path: str,
        parameters: Mapping[str, str | int] | None = None,
        *,
        caller: Credential | None,
        accept: str = JSON,
        validator: Validator | None = None,
        purpose: Purpose = "people",  # noqa: ARG002 - the quota keeper will ask
    ) -> GitHubReply | NotModified:
        """GET `path` (percent-encoded, from `/`), within 12 s in all.

        Raises NotFound, Unauthorized and Forbidden (of the caller's token), UnavailableForLegalReasons,
        UpstreamLimited, UpstreamStatus (any other status of 400 and more), UpstreamFault and its kin.
        """
        url = URL(f"{self._api_url}{path}{'?' + urlencode(parameters) if parameters else ''}", encoded=True)
        deadline = asyncio.get_running_loop().time() + TIMEOUT_SECONDS
        bucket: Bucket = "search" if path.startswith("/search/") else "core"
        while True:
            credential = caller or self._operator.choose(bucket, asyncio.get_running_loop().time())
            try:
                usable = validator is not None and validator.credential == credential.identity
                reply = await self._follow(url, credential, accept, deadline, validator if usable else None)
            except UpstreamStatus as error:
                self.is_reachable = error.upstream_status < 500
                limit = recognise_limit(error.upstream_status, error.headers, error.body, datetime.now(UTC))
                if credential.kind == "operator" and error.upstream_status == 401:
                    limit = Limit("refused", REFUSED_REST_SECONDS)
                if limit is None:
                    raise _mapped(error) from error
                if credential.kind == "caller":
                    raise _limited(limit) from error
                self._put_to_rest(credential, bucket, limit)
                if limit.kind == "secondary":
                    # It may be about our address rather than the credential: no second call now.
                    raise _limited(limit) from error
                # Another credential may go on; UpstreamLimited when all of them rest.
            except UpstreamFault:
                self.is_reachable = False
                raise
            else:
                self.is_reachable = True
                self._warn_of_power(credential, reply.headers)
                if reply.status == 304:
                    return NotModified()
                return GitHubReply(reply, credential)

    async def check_operator_credentials(self, checked: set[str]) -> None:
        """Ask `/rate_limit`, which costs nothing, once with each credential, so that a powerful or refused one shows.

        `checked` holds the names of those already asked for and is added to.
        """
        for credential in self._operator.all():
            if credential.kind != "operator" or credential.name in checked:
                continue
            checked.add(credential.name)
            url = URL(f"{self._api_url}/rate_limit", encoded=True)
            try:
                reply = await self._follow(url, credential, JSON, asyncio.get_running_loop().time() + TIMEOUT_SECONDS)
            except UpstreamFault as error:
                log.warning("credential.unchecked", credential=credential.name, error=str(error))
            else:
                self._warn_of_power(credential, reply.headers)

    async def _follow(
        self, url: URL, credential: Credential, accept: str, deadline: float, validator: Validator | None = None
    ) -> Reply:
        """GET with redirects (GitHub answers 301 for a renamed repository), which must stay on the same origin."""
        headers = {
            "Accept": accept,
            "X-GitHub-Api-Version": API_VERSION,
            "User-Agent": USER_AGENT,
            **credential.headers(),
        }
        if validator is not None:
            headers["If-None-Match"] = validator.etag
        for _ in range(REDIRECT_LIMIT + 1):
            reply = await fetch(
                self._session,
                "GET",
                url,
                headers=headers,
                timeout_seconds=deadline - asyncio.get_running_loop().time(),
                body_limit_bytes=BODY_LIMIT_BYTES,
            )
            if reply.status < 300 or (reply.status == 304 and validator is not None):
                return reply
            location = reply.headers.get("Location")
            if reply.status not in {301, 302, 307, 308} or not location:
                raise UpstreamFault(f"GitHub answered with an unexpected {reply.status}.")
            url = url.join(URL(location))
            if url.origin() != self._origin:
                raise UpstreamFault("GitHub redirected to another host.")
        raise UpstreamFault("GitHub redirected too often.")

    def _put_to_rest(self, credential: Credential, bucket: Bucket, limit: Limit) -> None:
        seconds = limit.retry_after_seconds
        log.warning("credential.rested", credential=credential.name, bucket=bucket, reason=limit.kind, seconds=seconds)
        self._operator.rest(credential, bucket, asyncio.get_running_loop().time() + seconds)

    def _warn_of_power(self, credential: Credential, headers: Mapping[str, str]) -> None:
        scopes = {scope.strip() for scope in headers.get("X-OAuth-Scopes", "").split(",")}
        if credential.kind == "operator" and "repo" in scopes and credential.name not in self._warned:
            self._warned.add(credential.name)
            log.warning(
                "credential.too_powerful",
                credential=credential.name,
                scopes=sorted(scopes),
                hint="it reads private repositories; a token without scopes is enough",
            )


def _limited(limit: Limit) -> UpstreamLimited:
    return UpstreamLimited("GitHub's rate limit is used up.", retry_after_seconds=limit.retry_after_seconds)


def _mapped(error: UpstreamStatus) -> ServiceError:
    match error.upstream_status:
        case 401:
            return Unauthorized("GitHub does not accept this token.")
        case 403:
            return Forbidden("GitHub refuses to show this.")
        case 404 | 410:
            return NotFound("GitHub has no such thing, or does not show it.")
        case 451:
            return UnavailableForLegalReasons("GitHub may not show this for legal reasons.")
        case _:
            return error

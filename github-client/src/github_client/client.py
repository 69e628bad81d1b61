"""The GitHub REST client: one GET by the right credential, and what its answer or failure means."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from math import ceil
from typing import overload
from urllib.parse import urlencode

import aiohttp
import msgspec
import structlog
from multidict import CIMultiDictProxy
from prometheus_client import Counter
from yarl import URL

from github_client.breaker import Breaker
from github_client.clock import Clock
from github_client.credentials import Credential
from github_client.quota import Purpose
from github_client.rate_limits import RateLimits
from github_client.wire import ask
from service_kit.client import Reply
from service_kit.errors import (
    Forbidden,
    NotFound,
    ServiceError,
    Unauthorized,
    UnavailableForLegalReasons,
    UpstreamFault,
    UpstreamLimited,
    UpstreamStatus,
    UpstreamUnreachable,
)
from service_kit.metrics import Metrics

TIMEOUT_SECONDS = 12.0
"""GitHub ends its own work on a request after 10 s; the gateway waits 15 s for us."""
ETAG_LIMIT_CHARACTERS = 256
JSON = "application/vnd.github+json"
log = structlog.get_logger()


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
        """The answer's validator, None for those that have none (search) or none that can be sent back as it came."""
        etag = self.headers.get("ETag", "")
        return etag if etag.isascii() and 0 < len(etag) <= ETAG_LIMIT_CHARACTERS else None

    def __init__(self, reply: Reply, credential: Credential, as_of: datetime) -> None:
        self.body: bytes = reply.body
        self.headers: CIMultiDictProxy[str] = reply.headers
        self.as_of = as_of
        self.credential = credential


class GitHubClient:
    """Asks api.github.com with the caller's credential, otherwise with one of the operator's, otherwise with none."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api_url: str,
        limits: RateLimits,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._session = session
        self._api_url = api_url
        self._limits = limits
        self._clock = clock
        self._breaker = Breaker()
        self._warned: set[str] = set()
        self._calls = Counter(
            "github_calls_total",
            "Calls to api.github.com, and those withheld: for people or in the background, and how they ended.",
            ("purpose", "outcome"),
            registry=metrics.registry,
        )
        self.is_reachable = True
        """False while the last call found GitHub failing, unreachable or one of the operator's credentials limited."""

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
        purpose: Purpose = "people",
    ) -> GitHubReply | NotModified:
        """GET `path` (percent-encoded, from `/`), within 12 s in all.

        `validator` goes along when its credential is the one that is asked with. With purpose `background` a share of
        the operator's budget is left to people. Raises NotFound, Unauthorized and Forbidden (of the caller's token),
        UnavailableForLegalReasons, UpstreamLimited, UpstreamStatus (any other status of 400 and more), UpstreamFault
        and its kin, at once while GitHub fails call after call.
        """
        url = URL(f"{self._api_url}{path}{'?' + urlencode(parameters) if parameters else ''}", encoded=True)
        deadline = asyncio.get_running_loop().time() + TIMEOUT_SECONDS
        bucket = _bucket(path)
        while True:
            credential = self._choose(caller, bucket, url.raw_path_qs, purpose)
            usable = validator if validator is not None and validator.credential == credential.identity else None
            outcome = "failed"
            try:
                reply = await self._ask(url, credential, accept, deadline, usable, bucket)
                outcome = "not_modified" if reply.status == 304 else "answered"
                return NotModified() if reply.status == 304 else GitHubReply(reply, credential, self._clock.utc())
            except UpstreamStatus as error:
                limit = self._limits.note_limit(credential, bucket, error)
                outcome = limit.kind if limit else str(error.upstream_status)
                if limit is None:
                    raise _mapped(error) from error
                self.is_reachable = self.is_reachable and credential.kind == "caller"
                # A secondary limit may be about our address rather than the credential: no second call now.
                # Otherwise another credential may go on; UpstreamLimited when all of them rest.
                if credential.kind == "caller" or limit.kind == "secondary":
                    raise UpstreamLimited(
                        "GitHub's rate limit is used up.", retry_after_seconds=limit.retry_after_seconds
                    ) from error
            finally:
                self._calls.labels(purpose, outcome).inc()

    def _choose(self, caller: Credential | None, bucket: str, resource: str, purpose: Purpose) -> Credential:
        """Whom to ask with. Raises UpstreamLimited, or UpstreamFault while GitHub fails call after call."""
        if wait_seconds := self._breaker.wait_seconds(self._clock.seconds()):
            self._calls.labels(purpose, "withheld_failing").inc()
            raise UpstreamFault("GitHub does not answer.", retry_after_seconds=ceil(wait_seconds))
        try:
            return self._limits.choose(caller, bucket, resource, purpose)
        except UpstreamLimited:
            self._calls.labels(purpose, "withheld_limited").inc()
            raise

    async def _ask(
        self,
        url: URL,
        credential: Credential,
        accept: str,
        deadline: float,
        validator: Validator | None,
        bucket: str,
    ) -> Reply:
        """One call, and what it teaches of GitHub's health and of the credential's budget."""
        try:
            reply = await ask(self._session, url, credential, accept, deadline, validator.etag if validator else None)
        except UpstreamStatus as error:
            self._limits.note_headers(credential, bucket, error.headers)
            self._note_health(is_well=error.upstream_status < 500)
            raise
        except UpstreamFault as error:
            if isinstance(error, UpstreamUnreachable):
                self._limits.give_back(credential, bucket)
            self._note_health(is_well=False)
            raise
        if reply.status == 304:
            self._limits.give_back(credential, bucket)
        self._limits.note_headers(credential, bucket, reply.headers)
        self._note_health(is_well=True)
        self._warn_of_power(credential, reply.headers)
        return reply

    def _note_health(self, *, is_well: bool) -> None:
        self.is_reachable = is_well
        if is_well:
            self._breaker.note_success()
        else:
            self._breaker.note_failure(self._clock.seconds())

    async def check_operator_credentials(self, checked: set[str]) -> None:
        """Ask `/rate_limit`, which costs nothing, with each credential: is it too powerful, is it refused (still).

        `checked` holds the identities of those already asked for and is added to.
        """
        url = URL(f"{self._api_url}/rate_limit", encoded=True)
        for credential in self._limits.to_check(checked):
            try:
                deadline = asyncio.get_running_loop().time() + TIMEOUT_SECONDS
                await self._ask(url, credential, JSON, deadline, None, "rate_limit")
                checked.add(credential.identity)
            except UpstreamStatus as error:
                checked.add(credential.identity)
                if self._limits.note_limit(credential, "rate_limit", error) is None:
                    log.warning("credential.unchecked", credential=credential.name, error=str(error))
            except UpstreamFault as error:
                log.warning("credential.unchecked", credential=credential.name, error=str(error))

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


def _bucket(path: str) -> str:
    """GitHub's name for what a path is counted as."""
    if path.startswith("/search/code"):
        return "code_search"
    return "search" if path.startswith("/search/") else "core"


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

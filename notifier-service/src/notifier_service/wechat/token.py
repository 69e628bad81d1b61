"""The one keeper of WeChat's access token: all replicas share a token, and one of them fetches it when it is needed.

Source: getStableAccessToken (developers.weixin.qq.com): a token lives for at most two hours; asked again WeChat gives
the same one, and a new one in its last five minutes; `force_refresh` makes it give another, 20 times a day at most.
"""

import asyncio
import time

import aiohttp
import msgspec
import structlog
from pydantic import SecretStr

from notifier_service.models import Unreachable
from notifier_service.wechat.errcodes import meaning
from service_kit.client import fetch
from service_kit.database import Database
from service_kit.encryption import Encryption, Undecipherable
from service_kit.errors import UpstreamFault
from service_kit.queries import read_queries

TIMEOUT_SECONDS = 4.0
LEASE_SECONDS = 6.0
WAIT_SECONDS = 5.0
"""How long to wait for a token, whoever fetches it; twice that and two calls are what a send takes at most."""
LOOK_INTERVAL_SECONDS = 0.1
MARGIN_SECONDS = 60.0
FORCE_INTERVAL_SECONDS = 24 * 3600 / 20
ANSWER_LIMIT_BYTES = 16 * 1024
ENCRYPTION_PURPOSE = "WeChat access tokens"
QUERIES = read_queries(__file__)
log = structlog.get_logger()


class Token(msgspec.Struct, frozen=True):
    """A token, and which one it is."""

    secret: SecretStr
    generation: int
    good_until: float
    """`time.monotonic`."""


class _Answer(msgspec.Struct):
    access_token: str = ""
    expires_in: int = 0
    errcode: int = 0
    errmsg: str = ""


class TokenKeeper:
    """Gives the token that is good now."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        database: Database,
        encryption: Encryption,
        *,
        api_url: str,
        app_id: str,
        app_secret: SecretStr,
    ) -> None:
        """`session` checks statuses."""
        self._session = session
        self._database = database
        self._encryption = encryption
        self._api_url = api_url
        self._app_id = app_id
        self._app_secret = app_secret
        self._kept: Token | None = None
        self._one_at_a_time = asyncio.Lock()

    async def token(self, *, refused: Token | None = None) -> Token:
        """A token that is good as far as anybody knows; another one than `refused`, which WeChat did not take.

        Raises Unreachable, DatabaseUnavailable, StatementTimeout.
        """
        try:
            # Over the wait for our turn, too: behind a fetch that hangs all sends would hang, each in its turn.
            async with asyncio.timeout(WAIT_SECONDS), self._one_at_a_time:
                kept = self._kept
                if kept is not None and time.monotonic() < kept.good_until and not _is(kept, refused):
                    return kept
                self._kept = await self._shared(refused)
                return self._kept
        except TimeoutError:
            raise _not_now("it took too long") from None

    async def _shared(self, refused: Token | None) -> Token:
        while True:
            shared, generation = await self._read()
            if shared is not None and not _is(shared, refused):
                return shared
            lease = await self._database.fetch_one(
                QUERIES["lease"],
                {
                    "app_id": self._app_id,
                    "seconds": LEASE_SECONDS,
                    "generation": generation,
                    "force": refused is not None and refused.generation == generation,
                    "force_interval": FORCE_INTERVAL_SECONDS,
                },
            )
            if lease is not None:
                return await self._fetch(generation, force=bool(lease[0]))
            await asyncio.sleep(LOOK_INTERVAL_SECONDS)

    async def _read(self) -> tuple[Token | None, int]:
        """The shared token if it is good, and which generation is the latest."""
        row = await self._database.fetch_one(QUERIES["read"], {"app_id": self._app_id})
        if row is None:
            return None, 0
        encrypted, generation, seconds_left = row
        if encrypted is None or seconds_left <= 0:
            return None, generation
        try:
            secret = SecretStr(self._encryption.decrypt(encrypted))
        except Undecipherable as error:
            log.error("wechat_token.unreadable", error=str(error))
            return None, generation
        return Token(secret, generation, time.monotonic() + seconds_left), generation

    async def _fetch(self, generation: int, *, force: bool) -> Token:
        fenced = {"app_id": self._app_id, "generation": generation}
        try:
            answer = await self._ask(force=force)
        except BaseException:
            # Shielded: who is cancelled here must not leave the others to wait for the lease.
            await asyncio.shield(self._database.execute(QUERIES["release"], fenced))
            raise
        seconds = max(answer.expires_in - MARGIN_SECONDS, 1.0)
        encrypted = self._encryption.encrypt(answer.access_token)
        await self._database.execute(QUERIES["store"], {**fenced, "token": encrypted, "seconds": seconds})
        log.info("wechat_token.fetched", generation=generation + 1, forced=force, good_for_seconds=seconds)
        return Token(SecretStr(answer.access_token), generation + 1, time.monotonic() + seconds)

    async def _ask(self, *, force: bool) -> _Answer:
        try:
            reply = await fetch(
                self._session,
                "POST",
                f"{self._api_url}/cgi-bin/stable_token",
                timeout_seconds=TIMEOUT_SECONDS,
                body_limit_bytes=ANSWER_LIMIT_BYTES,
                json={
                    "grant_type": "client_credential",
                    "appid": self._app_id,
                    "secret": self._app_secret.get_secret_value(),
                    "force_refresh": force,
                },
                log_body=False,
            )
            answer = msgspec.json.decode(reply.body, type=_Answer)
        except UpstreamFault as error:
            raise _not_now(error.detail) from error
        except msgspec.DecodeError:
            raise _not_now("WeChat's answer is no JSON") from None
        if answer.access_token and not answer.errcode:
            return answer
        said = f"WeChat says {answer.errcode} {answer.errmsg[:100]}"
        if meaning(answer.errcode) == "refused":  # an operator has to look; what waits must not be lost meanwhile
            log.error("wechat_token.refused", errcode=answer.errcode, errmsg=answer.errmsg[:100])
            raise Unreachable(f"no access token: {said}", blames_endpoint=False)
        raise _not_now(said)


def _not_now(why: str) -> Unreachable:
    """No fault of the message's nor of its endpoint's."""
    return Unreachable(f"no access token: {why}", counts=False, blames_endpoint=False)


def _is(token: Token, refused: Token | None) -> bool:
    return refused is not None and token.generation <= refused.generation

"""WeChat: subscribe messages to users of the mini-program, each on an acceptance of theirs (subscribeMessage.send)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import structlog
from pydantic import SecretStr

from notifier_service.channels.channel import Kind, Means
from notifier_service.models import Answer, Claimed, Delivered, Rejected, Skipped, Unreachable
from notifier_service.repeating import Repeating
from notifier_service.wechat.errcodes import RETRY_AFTER_SECONDS, Meaning, meaning
from notifier_service.wechat.ledger import Ledger, Verdict
from notifier_service.wechat.template import Template, check_openid, read_template, send_body
from notifier_service.wechat.template_pause import pause_template
from notifier_service.wechat.token import ENCRYPTION_PURPOSE, TokenKeeper
from notifier_service.wording import NoWording, word
from service_kit.client import fetch, open_session
from service_kit.database import Database, DatabaseUnavailable, StatementTimeout
from service_kit.encryption import Encryption
from service_kit.errors import UpstreamFault, UpstreamUnreachable
from service_kit.tasks import running

SEND_SECONDS = 5.0
FORGET_INTERVAL_SECONDS = 3600.0
ANSWER_LIMIT_BYTES = 16 * 1024
_VERDICTS: dict[Meaning, Verdict] = {"sent": "sent", "used_up": "used_up"}
"""Every other answer says that the message was not sent."""
log = structlog.get_logger()


class _Answer(msgspec.Struct):
    errcode: int
    errmsg: str = ""
    msgid: int | str | None = None


class Wechat:
    """Sends one message for one acceptance: taken from the ledger before, settled with the delivery's end."""

    name = "wechat"
    timeout_seconds = 20.0
    concurrency = 16

    def __init__(
        self, session: aiohttp.ClientSession, database: Database, keeper: TokenKeeper, ledger: Ledger, api_url: str
    ) -> None:
        """`session` checks statuses."""
        self._session = session
        self._database = database
        self._keeper = keeper
        self._ledger = ledger
        self._api_url = api_url

    async def send(self, claimed: Claimed) -> Answer:
        """Send it once. Raises Unreachable, DatabaseUnavailable, StatementTimeout."""
        endpoint = claimed.endpoint
        if endpoint.address is None:
            return Rejected("it has no openid")
        openid = endpoint.address.get_secret_value()
        try:
            template = read_template(endpoint.config)
            wording = word(claimed.topic, claimed.body, endpoint.language, claimed.occurrences)
        except (ValueError, NoWording) as error:
            return Rejected(str(error))
        token = await self._keeper.token()
        reservation = await self._ledger.reserve(claimed.id, claimed.attempt, openid, template.template_id)
        if reservation is None:
            return Skipped("the user has accepted no further message of this template")
        if reservation.verdict == "sent":  # by a worker that died before it could say so
            return Delivered(200, reservation.msgid)
        body = send_body(template, openid, wording, endpoint.language)
        answer = await self._post(claimed, token.secret, body)
        if meaning(answer.errcode) == "token":
            try:
                token = await self._keeper.token(refused=token)
            except Unreachable:
                await self._note(claimed, "not_sent")
                raise
            answer = await self._post(claimed, token.secret, body)
        return await self._judge(claimed, template, answer)

    async def _judge(self, claimed: Claimed, template: Template, answer: _Answer) -> Answer:
        """What WeChat's answer makes of the delivery, noted in the ledger. Raises Unreachable."""
        means = meaning(answer.errcode)
        msgid = None if answer.msgid is None else str(answer.msgid)
        await self._note(claimed, _VERDICTS.get(means, "not_sent"), msgid)
        said = f"wechat answered {answer.errcode}: {answer.errmsg[:200]}"
        match means:
            case "sent":
                return Delivered(200, msgid)
            case "used_up":
                before = "; what was sent before, unanswered, may have arrived" if claimed.attempt > 1 else ""
                return Skipped(said + before)
            case "no_user":
                return Rejected(said, 200, disable_endpoint=True)
            case "template":
                if await pause_template(self._database, template.template_id, said):
                    return Rejected(said, 200)
                # Its endpoint was paused meanwhile: it waits with the others.
                raise Unreachable(said, http_status=200, counts=False, blames_endpoint=False)
            case "refused":
                return Rejected(said, 200)
            case "token":
                raise Unreachable(said, http_status=200, counts=False, blames_endpoint=False)
            case "limited":
                raise Unreachable(said, http_status=200, retry_after_seconds=RETRY_AFTER_SECONDS[answer.errcode])
            case "passing":
                raise Unreachable(said, http_status=200)

    async def _post(self, claimed: Claimed, token: SecretStr, body: dict[str, Any]) -> _Answer:
        """One call. Raises Unreachable: whether the message was sent is then unknown, unless nobody was reached."""
        url = f"{self._api_url}/cgi-bin/message/subscribe/send?access_token={token.get_secret_value()}"
        try:
            reply = await fetch(
                self._session,
                "POST",
                url,
                timeout_seconds=SEND_SECONDS,
                body_limit_bytes=ANSWER_LIMIT_BYTES,
                json=body,
                log_body=False,
            )
            return msgspec.json.decode(reply.body, type=_Answer)
        except UpstreamFault as error:
            if isinstance(error, UpstreamUnreachable) and isinstance(error.__cause__, aiohttp.ClientConnectorError):
                await self._note(claimed, "not_sent")
            raise Unreachable(f"wechat: {error.detail}") from None
        except msgspec.DecodeError:
            raise Unreachable("wechat's answer is not JSON") from None

    async def _note(self, claimed: Claimed, verdict: Verdict, msgid: str | None = None) -> None:
        try:
            await self._ledger.note(claimed.id, claimed.attempt, verdict, msgid)
        except (DatabaseUnavailable, StatementTimeout) as error:
            # The delivery's end waits for Postgres and settles the reservation; only what is given back is not known.
            log.warning("wechat_verdict.lost", delivery_id=claimed.id, verdict=verdict, error=error.detail)


class NotSetUp:
    """The channel while WECHAT_APP_ID is not set."""

    name = "wechat"
    timeout_seconds = 1.0
    concurrency = 4

    async def send(self, _claimed: Claimed) -> Answer:
        """Nobody is told."""
        return Skipped("WECHAT_APP_ID and WECHAT_APP_SECRET are not set")


@asynccontextmanager
async def open_wechat(means: Means) -> AsyncIterator[Wechat | NotSetUp]:
    """The channel, while the context is open; it forgets what is past its time."""
    settings = means.settings
    if settings.wechat_app_id is None or settings.wechat_app_secret is None:
        yield NotSetUp()
        return
    async with open_session(means.metrics) as session:
        keeper = TokenKeeper(
            session,
            means.database,
            Encryption(settings.secret_key, ENCRYPTION_PURPOSE),
            api_url=settings.wechat_api_url,
            app_id=settings.wechat_app_id,
            app_secret=settings.wechat_app_secret,
        )
        ledger = Ledger(means.database, settings.secret_key)
        forgetting = Repeating("wechat.forget", ledger.forget, lambda: asyncio.sleep(FORGET_INTERVAL_SECONDS))
        async with running("wechat.forget", forgetting.run):
            yield Wechat(session, means.database, keeper, ledger, settings.wechat_api_url)


KIND = Kind(open_wechat, check_openid)

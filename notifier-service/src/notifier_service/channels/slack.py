"""Slack: messages to an incoming webhook (docs.slack.dev, "Sending messages using incoming webhooks")."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import structlog
from pydantic import SecretStr

from notifier_service.alert_storm import AlertStorms
from notifier_service.channels.channel import Kind, Means
from notifier_service.channels.posting import Forbidden, judge, post
from notifier_service.channels.webhook import check_url
from notifier_service.guarded_connector import open_guarded_session
from notifier_service.models import Answer, Claimed, Delivered, Rejected, Skipped
from notifier_service.wording import NoWording
from notifier_service.wording.parts import Line, Wording
from notifier_service.wording.shortening import shortened
from service_kit.client import open_session

TEXT_LIMIT_CHARACTERS = 38_000
"""Slack cuts at 40,000."""
# Slack says what is wrong in one word (`invalid_payload`); all else is a proxy's page, which may quote the webhook.
_REASON = re.compile(rb"[a-z_]{1,60}")
_GONE = frozenset({"no_service", "no_team", "team_disabled", "channel_not_found", "channel_is_archived"})
log = structlog.get_logger()


class Slack:
    """Posts to incoming webhooks: the operator's, which the settings name, and those of subscribers."""

    name = "slack"
    timeout_seconds = 5.0
    concurrency = 8

    def __init__(
        self,
        session: aiohttp.ClientSession,
        guarded: aiohttp.ClientSession,
        storms: AlertStorms,
        webhook_url: SecretStr | None,
    ) -> None:
        """The operator's own may be anywhere: `session` is for it, `guarded` for the others. Neither logs paths."""
        self._session = session
        self._guarded = guarded
        self._storms = storms
        self._webhook_url = webhook_url

    async def send(self, claimed: Claimed) -> Answer:
        """Post one message within 5 s; in a storm of alerts, one for all. Raises Unreachable."""
        try:
            async with self._storms.telling(claimed) as wording:
                answer = await self._post(claimed, mrkdwn(wording))
                if not isinstance(answer, Delivered):
                    raise _Untold(answer)
                return answer
        except NoWording as error:
            return Rejected(str(error))
        except _Untold as untold:
            return untold.answer

    async def _post(self, claimed: Claimed, text: str) -> Answer:
        address = claimed.endpoint.address
        session = self._guarded
        if address is None:
            address, session = self._webhook_url, self._session
        if address is None:
            log.warning("alert.skipped", message_id=claimed.message_id, text=text)
            return Skipped("SLACK_WEBHOOK_URL is not set")
        body = msgspec.json.encode({"text": shortened(text, TEXT_LIMIT_CHARACTERS)})
        try:
            posted = await post(session, address.get_secret_value(), body, {}, self.timeout_seconds)
        except Forbidden as error:
            return Rejected(str(error))
        reason = posted.body.decode() if _REASON.fullmatch(posted.body) else "no reason given"
        answer = judge("slack", posted, reason)
        if isinstance(answer, Rejected) and reason in _GONE:
            return msgspec.structs.replace(answer, disable_endpoint=True)
        return answer


class _Untold(Exception):
    """The message did not arrive, and neither did what it tells of besides."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def mrkdwn(wording: Wording) -> str:
    """A wording as Slack's mrkdwn."""
    lines = [f"*{_line(wording.title)}*", *(_line(line) for line in wording.lines)]
    if wording.code:
        lines.append(f"```{_escaped(wording.code)}```")
    return "\n".join(lines)


def _line(line: Line) -> str:
    return f"<{_escaped(line.url).replace('|', '%7C')}|{_escaped(line.text)}>" if line.url else _escaped(line.text)


def _escaped(text: str) -> str:
    """Slack's three control characters: `<!channel>` in an error must not call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@asynccontextmanager
async def open_slack(means: Means) -> AsyncIterator[Slack]:
    """The channel, while the context is open."""
    settings = means.settings
    allow_private = settings.webhook_private_addresses
    async with (
        open_session(means.metrics, checked=False, path_is_secret=True) as session,
        open_guarded_session(means.metrics, allow_private=allow_private, called="slack") as guarded,
    ):
        yield Slack(session, guarded, AlertStorms(means.database), settings.slack_webhook_url)


# docs.slack.dev, "Rate limits": a message a second. Short bursts are allowed, and not used: of a storm of alerts the
# first message is to tell of all, and others would go beside it.
KIND = Kind(open_slack, check_url, rate_per_second=1.0, from_settings=lambda _settings: ["settings:slack"])

"""Slack: an alert as a message to an incoming webhook (docs.slack.dev, "Sending messages using incoming webhooks")."""

import re
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
import structlog
from pydantic import SecretStr

from notifier_service.models import Answer, Claimed, Delivered, Rejected, Skipped, Unreachable
from notifier_service.retry import retry_after_seconds
from service_kit.alerts import Alert
from service_kit.client import fetch
from service_kit.errors import UpstreamFault, UpstreamStatus

TIMEOUT_SECONDS = 5.0
TRACEBACK_LIMIT_CHARACTERS = 2500
_ANSWER_LIMIT_BYTES = 16 * 1024
_PASSING_STATUSES = frozenset({408, 425, 429})
# Slack says what is wrong in one word (`invalid_payload`); all else is a proxy's page, which may quote the webhook.
_REASON = re.compile(rb"[a-z_]{1,60}")
log = structlog.get_logger()


class Slack:
    """Posts alerts to one webhook; without one it skips them, saying so in the log."""

    name = "slack"
    timeout_seconds = TIMEOUT_SECONDS
    concurrency = 4

    def __init__(self, session: aiohttp.ClientSession, webhook_url: SecretStr | None) -> None:
        """`session` must not log paths: the webhook's is a secret."""
        self._session = session
        self._webhook_url = webhook_url

    async def send(self, claimed: Claimed) -> Answer:
        """Post one message within 5 s. Raises Unreachable."""
        if claimed.topic != "alert":
            return Rejected(f"slack has no wording for the topic {claimed.topic}")
        try:
            text = wording(msgspec.convert(claimed.body, Alert), claimed.occurrences)
        except msgspec.ValidationError as error:
            return Rejected(f"the body is not an alert: {error}")
        if self._webhook_url is None:
            log.warning("alert.skipped", message_id=claimed.message_id, text=text)
            return Skipped("SLACK_WEBHOOK_URL is not set")
        return await self._post({"text": text})

    async def _post(self, payload: dict[str, Any]) -> Answer:
        assert self._webhook_url is not None
        try:
            reply = await fetch(
                self._session,
                "POST",
                self._webhook_url.get_secret_value(),
                timeout_seconds=TIMEOUT_SECONDS,
                body_limit_bytes=_ANSWER_LIMIT_BYTES,
                json=payload,
            )
        except UpstreamStatus as error:
            status = error.upstream_status
            reason = error.body.decode() if _REASON.fullmatch(error.body) else "no reason given"
            if status < 500 and status not in _PASSING_STATUSES:
                return Rejected(f"slack answered {status}: {reason}", status)
            retry_after = retry_after_seconds(error.headers.get("Retry-After"), datetime.now(UTC))
            raise Unreachable(
                f"slack answered {status}: {reason}", http_status=status, retry_after_seconds=retry_after
            ) from error
        except UpstreamFault as error:
            raise Unreachable(error.detail) from error
        if reply.status >= 300:
            return Rejected(f"slack answered {reply.status}: webhooks do not redirect", reply.status)
        return Delivered(reply.status)


def wording(alert: Alert, occurrences: int) -> str:
    """An alert as Slack's mrkdwn; a long traceback keeps its end, where the error is."""
    count = f", {occurrences} times so far" if occurrences > 1 else ""
    lines = [
        f"*{_escaped(alert.service)}*: `{_escaped(alert.error)}` at {_escaped(alert.where)} ({alert.minute}{count})",
        _escaped(alert.message),
    ]
    if alert.traceback:
        lines.append(f"```{_escaped(alert.traceback[-TRACEBACK_LIMIT_CHARACTERS:])}```")
    return "\n".join(line for line in lines if line)


def _escaped(text: str) -> str:
    """Slack's three control characters: `<!channel>` in an error must not call everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

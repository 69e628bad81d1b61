"""Alerts to operators who do not use Slack: WeCom, DingTalk, Feishu, Lark, Telegram, e-mail, by means of apprise."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager

from pydantic import SecretStr

from notifier_service.alert_storm import AlertStorms
from notifier_service.channels.channel import Kind, Means, only_from_settings
from notifier_service.models import Answer, Claimed, Delivered, Rejected, Skipped, Unreachable
from notifier_service.settings import NotifierSettings
from notifier_service.wording import NoWording
from notifier_service.wording.parts import Wording

THREADS = 4


class Alerts:
    """Sends in threads of its own, for apprise knows no other way; no more at once than there are threads."""

    name = "alerts"
    timeout_seconds = 20.0
    """Above the longest wait within apprise, 15 s for a mail server."""
    concurrency = THREADS

    def __init__(self, pool: ThreadPoolExecutor, storms: AlertStorms, urls: Mapping[str, SecretStr]) -> None:
        """`urls` by the endpoint's name."""
        self._pool = pool
        self._storms = storms
        self._urls = urls
        self._under_way: set[Future[str | None]] = set()

    async def send(self, claimed: Claimed) -> Answer:
        """Send one message within 20 s; in a storm of alerts, one for all. Raises Unreachable."""
        url = self._urls.get(claimed.endpoint.name or "")
        if url is None:
            return Skipped("its URL is not in ALERT_URLS")
        if len(self._under_way) >= THREADS:
            # What was given up may still occupy its thread: nothing is to wait behind it unseen.
            raise Unreachable("earlier alerts are still being sent", counts=False, blames_endpoint=False)
        try:
            async with self._storms.telling(claimed) as wording:
                await self._notify(url, wording)
        except NoWording as error:
            return Rejected(str(error))
        return Delivered()

    async def _notify(self, url: SecretStr, wording: Wording) -> None:
        sending = self._pool.submit(_notify, url, wording.title.text, wording.plain())
        self._under_way.add(sending)
        sending.add_done_callback(self._under_way.discard)
        try:
            async with asyncio.timeout(self.timeout_seconds):
                refusal = await asyncio.shield(asyncio.wrap_future(sending))
        except TimeoutError:
            raise Unreachable(f"no answer within {self.timeout_seconds:g} s") from None
        if refusal is not None:
            raise Unreachable(refusal)


def _notify(url: SecretStr, title: str, body: str) -> str | None:
    """Send from this thread; why it was not taken, or None when it was."""
    # Imported late: apprise takes 30 MB and a quarter of a second, which only those who name URLs need to spend.
    import apprise

    place = apprise.Apprise()
    place.add(url.get_secret_value())
    result = place.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
    if result:
        return None
    said = [entry.message for entry in result.logs() if entry.level in {"WARNING", "ERROR"}]
    return said[-1] if said else "it was not taken"


def _keep_quiet() -> None:
    """Keep the libraries' own lines, which can hold a URL, out of the log."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.INFO)


def _by_name(settings: NotifierSettings) -> dict[str, SecretStr]:
    """The URLs by the names of their endpoints, which are made of them under SECRET_KEY and so give nothing away."""
    key = hashlib.sha256(settings.secret_key.get_secret_value().encode()).digest()

    def name(url: SecretStr) -> str:
        return hashlib.blake2b(url.get_secret_value().encode(), digest_size=6, key=key).hexdigest()

    return {f"settings:alerts:{name(url)}": url for url in settings.alert_urls}


def _names(settings: NotifierSettings) -> Sequence[str]:
    return list(_by_name(settings))


@asynccontextmanager
async def open_alerts(means: Means) -> AsyncIterator[Alerts]:
    """The channel, while the context is open."""
    _keep_quiet()
    pool = ThreadPoolExecutor(THREADS, "alerts")
    try:
        yield Alerts(pool, AlertStorms(means.database), _by_name(means.settings))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


# WeCom's and DingTalk's robots take 20 messages a minute, the fewest of all.
KIND = Kind(open_alerts, only_from_settings, rate_per_second=0.3, from_settings=_names)

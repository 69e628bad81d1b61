"""Subscriptions: who is told of what. Made, changed and confirmed here, for the HTTP API and the command line."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
import psycopg2.errors
from pydantic import SecretStr

from notifier_service.channels import REGISTRY, Kind, Means
from notifier_service.channels.webhook import open_webhook
from notifier_service.models import Endpoint
from notifier_service.standard_webhooks import rotated
from notifier_service.subscription import ALL_LANGUAGES, WEEKDAYS, Language, Wish, complete, slug_of
from notifier_service.target import Target, complete_target, shown
from service_kit.database import Database, Row
from service_kit.encryption import Encryption, Undecipherable
from service_kit.errors import Conflict, NotFound, UnprocessableParameter
from service_kit.queries import read_queries

OPERATOR = "operator"
"""The owner of everything, until users have accounts."""
MOST_SUBSCRIPTIONS = 10_000
"""Of one owner."""
PER_PAGE = 30
ENCRYPTION_PURPOSE = "endpoints"
UNREADABLE = "The endpoint cannot be read with this SECRET_KEY: set the one it was made with, or subscribe anew."

QUERIES = read_queries(__file__)


class ShownEndpoint(msgspec.Struct, frozen=True):
    """An endpoint as it may be shown."""

    id: int
    name: str | None
    channel: str
    address: str | None
    """As much of it as may be shown; None where the settings hold it."""
    language: str
    state: str
    reason: str | None
    paused: bool


class Subscription(msgspec.Struct, frozen=True):
    """A subscription as it may be shown. Times are UTC."""

    id: int
    topic: str
    languages: list[str]
    since: str
    minimum_period_stars: int | None
    repository: str | None
    owner: str | None
    mode: str
    digest_hour: int | None
    digest_weekday: str | None
    time_zone: str
    quiet_from: str | None
    quiet_until: str | None
    paused: bool
    next_digest_at: datetime | None
    created_at: datetime
    endpoint: ShownEndpoint


class Created(msgspec.Struct, frozen=True):
    """What came of a wish to subscribe."""

    subscription: Subscription
    is_new: bool
    """False when it was there already; it is then as it was."""
    secret: str | None
    """What a new endpoint's messages are signed with: not to be had again."""


Challenge = Callable[[Endpoint], Awaitable[str | None]]
"""Asks an endpoint whether it wants messages; why it does not seem so, or None when it does."""


class Subscriptions:
    """One owner's subscriptions. Every method raises DatabaseUnavailable or StatementTimeout as well."""

    def __init__(
        self,
        database: Database,
        encryption: Encryption,
        challenge: Challenge,
        kinds: Mapping[str, Kind],
        owner: str = OPERATOR,
    ) -> None:
        self._database = database
        self._kinds = kinds
        self._encryption = encryption
        self._challenge = challenge
        self._owner = owner

    async def create(self, wish: Wish, target: Target) -> Created:
        """Subscribe; the same endpoint, topic and filter a second time is the same subscription, left as it is.

        Raises InvalidParameter and UnprocessableParameter, which name the field, Conflict when there are too many.
        """
        wish = await self._known_here(complete(wish))
        target = complete_target(target, self._kinds)
        encrypted = self._encryption.encrypt(target.secret) if target.secret else None
        kind = self._kinds[target.channel]
        config = msgspec.json.encode(target.config, order="deterministic").decode()
        row = await self._database.fetch_one(
            QUERIES["create"],
            {
                **_columns(wish),
                "topic": wish.topic,
                "owner": self._owner,
                "most": MOST_SUBSCRIPTIONS,
                "channel": target.channel,
                "address_hint": shown(target.address),
                "address_digest": self._encryption.digest(f"{target.address}\n{config}"),
                "address_encrypted": self._encryption.encrypt(target.address),
                "secret_encrypted": encrypted,
                "config": config,
                "language": target.language,
                "state": "unconfirmed" if kind.is_challenged else "active",
                "rate_per_second": kind.rate_per_second,
                "burst": kind.burst,
            },
        )
        if row is None:
            raise Conflict(f"There are {MOST_SUBSCRIPTIONS} subscriptions already, which is the most there may be.")
        subscription_id, is_new, stored = row
        is_our_secret = encrypted is not None and stored is not None and bytes(stored) == encrypted
        return Created(await self.get(subscription_id), is_new, target.secret if is_our_secret else None)

    async def page(
        self, number: int = 1, *, topic: str | None = None, channel: str | None = None
    ) -> tuple[list[Subscription], bool]:
        """A page of 30, the newest first, and whether there are more."""
        rows = await self._rows(topic=topic, channel=channel, skip=(number - 1) * PER_PAGE, limit=PER_PAGE + 1)
        return [_shown(row) for row in rows[:PER_PAGE]], len(rows) > PER_PAGE

    async def get(self, subscription_id: int) -> Subscription:
        """Raises NotFound."""
        rows = await self._rows(id=subscription_id)
        if not rows:
            raise NotFound("There is no such subscription.")
        return _shown(rows[0])

    async def change(self, subscription_id: int, wish: Wish) -> Subscription:
        """Have it be as `wish` says, which has the topic that it has.

        Raises NotFound, Conflict when there is one like that already, and for the wish what `create` raises.
        """
        wish = await self._known_here(complete(wish))
        parameters = {**_columns(wish), "id": subscription_id, "owner": self._owner}
        try:
            await self._database.execute(QUERIES["change"], parameters)
        except psycopg2.errors.UniqueViolation:
            raise Conflict("Another subscription of this endpoint says the same already.") from None
        return await self.get(subscription_id)

    async def delete(self, subscription_id: int) -> None:
        """Raises NotFound."""
        gone = await self._database.fetch_all(QUERIES["delete"], {"id": subscription_id, "owner": self._owner})
        if not gone:
            raise NotFound("There is no such subscription.")

    async def confirm(self, subscription_id: int) -> str | None:
        """Ask its endpoint whether it wants messages, and make it active when it does; else why not.

        What was disabled is made active as well. Raises NotFound, Conflict when it cannot be decrypted.
        """
        endpoint = await self._endpoint(subscription_id)
        if self._kinds[endpoint.channel].is_challenged:
            refusal = await self._challenge(endpoint)
            if refusal is not None:
                return refusal
        await self._database.execute(QUERIES["confirm"], {"id": endpoint.id})
        return None

    async def rotate_secret(self, subscription_id: int) -> str:
        """A new secret for its endpoint; until the next rotation messages bear a signature of each.

        Raises NotFound, UnprocessableParameter where nothing is signed, Conflict when two rotate at once or the secret
        cannot be decrypted.
        """
        row = await self._target(subscription_id)
        old = row[3]
        if old is None:
            raise UnprocessableParameter("id", "Messages to this endpoint are not signed.")
        signing = rotated(self._decrypt(old))
        parameters = {"id": row[0], "old": old, "new": self._encryption.encrypt(signing)}
        if await self._database.execute(QUERIES["rotate"], parameters) != 1:
            raise Conflict("The secret was changed by somebody else at the same time.")
        return signing.split()[0]

    async def _endpoint(self, subscription_id: int) -> Endpoint:
        endpoint_id, channel, address, secret, config, language, name, _ = await self._target(subscription_id)
        return Endpoint(endpoint_id, channel, self._decrypted(address), self._decrypted(secret), config, language, name)

    async def _target(self, subscription_id: int) -> Row:
        row = await self._database.fetch_one(QUERIES["target"], {"id": subscription_id, "owner": self._owner})
        if row is None:
            raise NotFound("There is no such subscription.")
        return row

    def _decrypted(self, stored: Any) -> SecretStr | None:
        return None if stored is None else SecretStr(self._decrypt(stored))

    def _decrypt(self, stored: Any) -> str:
        """Raises Conflict when it was stored with another SECRET_KEY."""
        try:
            return self._encryption.decrypt(stored)
        except Undecipherable:
            raise Conflict(UNREADABLE) from None

    async def _rows(
        self,
        *,
        id: int | None = None,
        topic: str | None = None,
        channel: str | None = None,
        skip: int = 0,
        limit: int = 1,
    ) -> list[Row]:
        parameters = {"id": id, "topic": topic, "channel": channel, "skip": skip, "limit": limit, "owner": self._owner}
        return await self._database.fetch_all(QUERIES["list"], parameters)

    async def _known_here(self, wish: Wish) -> Wish:
        """The wish with languages as slugs. Raises UnprocessableParameter for a language or time zone there is not."""
        if wish.time_zone != "UTC" and not await self._database.fetch_all(
            QUERIES["knows_time_zone"], {"time_zone": wish.time_zone}
        ):
            raise UnprocessableParameter("time_zone", "is not a time zone, as Asia/Shanghai is.")
        if not set(wish.languages) - {ALL_LANGUAGES}:
            return wish
        row = await self._database.fetch_one(QUERIES["menu"])
        menu = msgspec.json.decode(row[0], type=tuple[Language, ...]) if row else ()
        slugs = {slug_of(text, menu) or ALL_LANGUAGES for text in wish.languages}
        return msgspec.structs.replace(wish, languages=tuple(sorted(slugs)))


def wish_of(subscription: Subscription) -> Wish:
    """What was wished, as it may be wished again."""
    return msgspec.convert(
        {field: getattr(subscription, field) for field in Wish.__struct_fields__}, Wish, from_attributes=True
    )


def _columns(wish: Wish) -> dict[str, Any]:
    return {
        "languages": ["" if language == ALL_LANGUAGES else language for language in wish.languages],
        "since": wish.since,
        "minimum_period_stars": wish.minimum_period_stars,
        "repository": wish.repository,
        "owner_login": wish.owner,
        "mode": wish.mode,
        "digest_hour": wish.digest_hour,
        "digest_weekday": WEEKDAYS.index(wish.digest_weekday) + 1 if wish.digest_weekday else None,
        "time_zone": wish.time_zone,
        "quiet_from": wish.quiet_from,
        "quiet_until": wish.quiet_until,
        "paused": wish.paused,
    }


def _shown(row: Row) -> Subscription:
    values = [*row[:16], ShownEndpoint(*row[16:])]
    is_of_trending = values[1].startswith("trending.")
    values[2] = [language or ALL_LANGUAGES for language in values[2]] if is_of_trending else []
    values[9] = WEEKDAYS[values[9] - 1] if values[9] else None
    return Subscription(*values)


@asynccontextmanager
async def open_subscriptions(means: Means) -> AsyncIterator[Subscriptions]:
    """The operator's, with a webhook channel of their own to send challenges through."""
    encryption = Encryption(means.settings.secret_key, ENCRYPTION_PURPOSE)
    async with open_webhook(means) as webhook:
        yield Subscriptions(means.database, encryption, webhook.challenge, REGISTRY)

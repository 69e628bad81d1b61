"""The keeper of WeChat's token: one for all replicas, fetched once, never in clear in the database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from pydantic import SecretStr

from notifier_service.models import Unreachable
from notifier_service.wechat import token as token_module
from notifier_service.wechat.token import TokenKeeper
from service_kit.client import open_session
from service_kit.database import Database
from service_kit.encryption import Encryption
from service_kit.metrics import Metrics
from tests.fakes.wechat import APP_ID, APP_SECRET, FakeWechat, fake_wechat
from tests.queue_database import QueueDatabase

KEY = SecretStr("a secret key that is long enough to be one")


@pytest.fixture
async def wechat() -> AsyncIterator[FakeWechat]:
    async with fake_wechat() as wechat:
        yield wechat


class Replicas:
    """Keepers as replicas have them: each with a pool and a memory of its own."""

    def __init__(self, stack: AsyncExitStack, url: str, wechat: FakeWechat) -> None:
        self._stack = stack
        self._url = url
        self._wechat = wechat

    async def one(self, *, secret: str = APP_SECRET, key: SecretStr = KEY) -> TokenKeeper:
        """Another replica."""
        database = Database(SecretStr(self._url), "test")
        await database.open()
        self._stack.push_async_callback(database.close)
        session = await self._stack.enter_async_context(open_session(Metrics()))
        return TokenKeeper(
            session,
            database,
            Encryption(key, "WeChat access tokens"),
            api_url=self._wechat.url,
            app_id=APP_ID,
            app_secret=SecretStr(secret),
        )


@pytest.fixture
async def replicas(database_url: str, wechat: FakeWechat) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        yield Replicas(stack, database_url, wechat)


@pytest.fixture
def tables(database_url: str) -> QueueDatabase:
    return QueueDatabase(database_url)


async def test_many_askers_of_many_replicas_fetch_one_token(replicas: Replicas, wechat: FakeWechat) -> None:
    wechat.token_delay_seconds = 0.2
    keepers = [await replicas.one() for _ in range(4)]

    tokens = await asyncio.gather(*(keeper.token() for keeper in keepers for _ in range(10)))

    assert {token.secret.get_secret_value() for token in tokens} == {wechat.token}
    assert wechat.tokens_asked == [False]


async def test_token_is_not_readable_in_the_table(
    replicas: Replicas, wechat: FakeWechat, tables: QueueDatabase
) -> None:
    await (await replicas.one()).token()

    [(encrypted,)] = tables.rows("select token_encrypted from wechat_token")
    assert b"ACCESS-TOKEN" not in bytes(encrypted)


async def test_refused_token_is_replaced_once_for_all(replicas: Replicas, wechat: FakeWechat) -> None:
    keepers = [await replicas.one() for _ in range(3)]
    old = await keepers[0].token()
    wechat.withdraw_token()

    tokens = await asyncio.gather(*(keeper.token(refused=old) for keeper in keepers for _ in range(5)))

    assert {token.secret.get_secret_value() for token in tokens} == {wechat.token}
    assert wechat.tokens_asked == [False, True]


async def test_who_was_refused_late_takes_what_others_have_fetched_since(
    replicas: Replicas, wechat: FakeWechat
) -> None:
    first, second = await replicas.one(), await replicas.one()
    old = await second.token()
    new = await first.token(refused=old)

    assert (await second.token(refused=old)).generation == new.generation
    assert len(wechat.tokens_asked) == 2


async def test_wechat_is_forced_at_most_twenty_times_a_day(
    replicas: Replicas, wechat: FakeWechat, tables: QueueDatabase
) -> None:
    keeper = await replicas.one()
    token = await keeper.token()
    for _ in range(3):
        token = await keeper.token(refused=token)
    assert wechat.tokens_asked == [False, True, False, False]

    tables.rows("update wechat_token set forced_at = now() - interval '73 minutes'")
    await keeper.token(refused=token)
    assert wechat.tokens_asked[-1] is True


async def test_expired_token_is_fetched_anew(
    monkeypatch: pytest.MonkeyPatch, replicas: Replicas, wechat: FakeWechat
) -> None:
    monkeypatch.setattr(token_module, "MARGIN_SECONDS", 7199.8)
    keeper = await replicas.one()
    first = await keeper.token()
    async with asyncio.timeout(5):
        while (await keeper.token()).generation == first.generation:
            await asyncio.sleep(0.05)

    assert wechat.tokens_asked == [False, False]


async def test_replica_that_died_while_fetching_holds_up_nobody(
    replicas: Replicas, wechat: FakeWechat, tables: QueueDatabase
) -> None:
    tables.rows("insert into wechat_token (app_id, lease_until) values (%s, now() + interval '0.5 s')", (APP_ID,))

    assert (await (await replicas.one()).token()).secret.get_secret_value() == wechat.token


async def test_fetch_that_hangs_holds_nobody_up_for_longer_than_its_time(
    replicas: Replicas, wechat: FakeWechat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_module, "WAIT_SECONDS", 0.3)
    wechat.token_delay_seconds = 60.0
    keeper = await replicas.one()
    async with asyncio.timeout(2):
        answers = await asyncio.gather(*(keeper.token() for _ in range(16)), return_exceptions=True)

    assert [(type(one), one.counts, one.blames_endpoint) for one in answers if isinstance(one, Unreachable)] == [
        (Unreachable, False, False)
    ] * 16
    wechat.token_delay_seconds = 0.0
    assert (await keeper.token()).secret.get_secret_value() == wechat.token


async def test_cancelled_fetch_is_taken_over_at_once(replicas: Replicas, wechat: FakeWechat) -> None:
    wechat.token_delay_seconds = 30
    fetching = asyncio.create_task((await replicas.one()).token())
    async with asyncio.timeout(5):
        while not wechat.tokens_asked:
            await asyncio.sleep(0.01)
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    wechat.token_delay_seconds = 0

    async with asyncio.timeout(token_module.LEASE_SECONDS / 2):
        await (await replicas.one()).token()


async def test_another_secret_key_fetches_a_token_of_its_own(replicas: Replicas, wechat: FakeWechat) -> None:
    await (await replicas.one()).token()

    other = await replicas.one(key=SecretStr("another secret key, long enough as well"))
    assert (await other.token()).secret.get_secret_value() == wechat.token


async def test_wrong_secret_is_said_and_not_quoted(replicas: Replicas) -> None:
    keeper = await replicas.one(secret="wrong-secret-of-the-app")

    with pytest.raises(Unreachable, match="40125") as refusal:
        await keeper.token()
    assert refusal.value.counts
    assert "wrong-secret" not in str(refusal.value)


async def test_busy_wechat_is_asked_again_later(replicas: Replicas, wechat: FakeWechat) -> None:
    keeper = await replicas.one()
    wechat.token_errcode = -1
    with pytest.raises(Unreachable, match="-1") as unreachable:
        await keeper.token()
    assert not unreachable.value.counts
    wechat.token_errcode = 0

    assert (await keeper.token()).secret.get_secret_value() == wechat.token

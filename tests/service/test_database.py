"""The pool on aiopg: time-outs, restarts, refused connections and cancellation have types, and it comes back by itself."""

import asyncio
from collections.abc import AsyncIterator

import psycopg2
import pytest
from pydantic import SecretStr

from service_kit import database as database_module
from service_kit.database import Database, DatabaseUnavailable, StatementTimeout
from tests.throwaway_postgres import ThrowawayPostgres


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(SecretStr(database_url), "test")
    await opened.open()
    yield opened
    await opened.close()


async def test_statements_give_rows_and_counts(database: Database) -> None:
    assert await database.fetch_all("select n, %s from generate_series(1, 2) n", ("x",)) == [(1, "x"), (2, "x")]
    assert await database.fetch_one("select 1 where false") is None
    assert await database.execute("insert into account (name, encrypted_token) values ('a', 'b'), ('b', 'b')") == 2


async def test_every_connection_has_its_limits(database: Database) -> None:
    shown = [await database.fetch_one(f"show {name}") for name in ("statement_timeout", "application_name")]
    assert shown == [("5s",), ("wegit-test",)]


async def test_a_statement_that_takes_too_long_is_a_typed_error_and_not_a_cancellation(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "STATEMENT_TIMEOUT_SECONDS", 0.2)
    await database.open()  # the limit is set when connections are made
    with pytest.raises(StatementTimeout):
        await database.fetch_all("select pg_sleep(10)")
    assert await database.fetch_one("select 1") == (1,)


async def test_a_statement_is_prepared_on_each_connection_and_again_when_its_table_has_changed(
    database: Database,
) -> None:
    execute, prepare = "execute found (%s)", "prepare found (text) as select * from kept where key = $1"
    await database.execute("create table kept (key text)")
    await database.execute("insert into kept values ('a')")
    for _ in range(2):
        rows = await asyncio.gather(*(database.fetch_one_prepared(execute, prepare, ("a",)) for _ in range(20)))
        assert rows == [("a",)] * 20
    prepared = await database.fetch_all("select name from pg_prepared_statements")
    assert prepared == [("found",)]
    await database.execute("alter table kept add column size integer default 7")
    assert await database.fetch_one_prepared(execute, prepare, ("a",)) == ("a", 7)
    assert await database.fetch_one_prepared(execute, prepare, ("b",)) is None


async def test_a_wrong_statement_is_psycopgs_own_error(database: Database) -> None:
    with pytest.raises(psycopg2.ProgrammingError):
        await database.fetch_all("select no_such_column")


async def test_a_cancelled_caller_is_cancelled(database: Database) -> None:
    waiting = asyncio.create_task(database.fetch_all("select pg_sleep(3)"))
    async with asyncio.timeout(3):
        while await database.fetch_one("select 1 from pg_stat_activity where query = 'select pg_sleep(3)'") is None:
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await database.fetch_one("select 1") == (1,)


async def test_more_callers_than_connections_all_get_their_turn(database: Database) -> None:
    rows = await asyncio.gather(*(database.fetch_one("select %s from pg_sleep(0.01)", (n,)) for n in range(50)))
    assert rows == [(n,) for n in range(50)]


async def test_a_restart_of_postgres_is_not_noticed_by_the_next_statement(own_postgres: ThrowawayPostgres) -> None:
    database = Database(SecretStr(own_postgres.url), "test")
    await database.open()
    try:
        assert await asyncio.gather(*(database.fetch_one("select 1") for _ in range(4))) == [(1,)] * 4
        await asyncio.to_thread(own_postgres.kill)
        with pytest.raises(DatabaseUnavailable):
            await database.fetch_one("select 2")
        await asyncio.to_thread(own_postgres.start)
        for _ in range(5):
            assert await database.fetch_one("select 3") == (3,)
    finally:
        await database.close()


async def test_a_refused_connection_is_typed_and_quick() -> None:
    database = Database(SecretStr("postgresql://nobody@127.0.0.1:1/nothing"), "test")
    await database.open()
    try:
        async with asyncio.timeout(2):
            for _ in range(3):
                with pytest.raises(DatabaseUnavailable):
                    await database.fetch_one("select 1")
    finally:
        await database.close()

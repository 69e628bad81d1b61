"""A connection apart from the pool: what it prepares, and when that is lost or no longer fits."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from notifier_service.own_connection import OwnConnection
from service_kit.database import Database
from tests.queue_database import QueueDatabase


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[OwnConnection]:
    connection = OwnConnection(Database(SecretStr(database_url), "test"))
    yield connection
    connection.close()


async def test_what_is_prepared_takes_parameters_by_name_and_is_prepared_once(connection: OwnConnection) -> None:
    sql = "select %(word)s || %(number)s::text, %(number)s::integer + 1"

    assert await connection.prepared_rows(sql, {"word": "it's ", "number": 1}) == [("it's 1", 2)]
    assert await connection.prepared_rows(sql, {"number": 2, "word": "b"}) == [("b2", 3)]
    assert await connection.rows("select count(*) from pg_prepared_statements") == [(1,)]


async def test_new_connection_prepares_anew(connection: OwnConnection, database_url: str) -> None:
    [(process,)] = await connection.prepared_rows("select pg_backend_pid()")
    QueueDatabase(database_url).rows("select pg_terminate_backend(%s)", (process,))

    [(other,)] = await connection.prepared_rows("select pg_backend_pid()")
    assert other != process


async def test_table_that_was_changed_is_read_as_it_is_now(connection: OwnConnection, database_url: str) -> None:
    tables = QueueDatabase(database_url)
    tables.rows("create table changing as select 1 as one")
    assert await connection.prepared_rows("select * from changing") == [(1,)]
    tables.rows("alter table changing add column two integer default 2")

    assert await connection.prepared_rows("select * from changing") == [(1, 2)]

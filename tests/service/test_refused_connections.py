"""aiopg on uvloop with nothing listening: the failure of every connection has its type."""

from collections import Counter

import uvloop
from pydantic import SecretStr

from service_kit.database import Database, DatabaseUnavailable


def test_every_refused_connection_is_told_as_such(unused_tcp_port: int) -> None:
    async def connect_often() -> Counter[type[BaseException]]:
        database = Database(SecretStr(f"postgresql://u@127.0.0.1:{unused_tcp_port}/d"), "test")
        await database.open()
        seen: Counter[type[BaseException]] = Counter()
        for _ in range(10):
            try:
                await database.fetch_one("select 1")
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                seen[type(error)] += 1
        await database.close()
        return seen

    assert uvloop.run(connect_often()) == {DatabaseUnavailable: 10}

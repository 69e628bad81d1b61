"""A connection to Postgres apart from the pool: opened when it is first needed, and again when it was lost."""

import asyncio
from collections.abc import Callable, Iterable

import aiopg

from service_kit.database import Database, DatabaseUnavailable, Parameters, Row, cursor

Statement = tuple[str, Parameters]


class OwnConnection:
    """Runs one statement at a time. The queue's loops share no pool: one that is stuck must not hold up the others."""

    def __init__(
        self,
        database: Database,
        *begin: str,
        timeout_seconds: float | None = None,
        on_connect: Callable[[], None] = lambda: None,
    ) -> None:
        """`begin` are statements that each new connection begins with; `timeout_seconds` replaces the 5 s."""
        self._database = database
        self._begin = begin
        self._timeout_seconds = timeout_seconds
        self._on_connect = on_connect
        self._connection: aiopg.Connection | None = None
        self._turn = asyncio.Lock()

    async def rows(self, sql: str, parameters: Parameters = None, *before: Statement) -> list[Row]:
        """Run a statement, those `before` it in the same transaction, and return its rows.

        A connection that died while it was idle is replaced, and the statement tried once more: it must bear being
        run twice. Cancelled or failed, the connection is closed, and whether the statement took effect is unknown.
        Raises DatabaseUnavailable, StatementTimeout, psycopg2.Error.
        """
        async with self._turn:
            return await self._run_again_if_dead([*before, (sql, parameters)])

    async def _run_again_if_dead(self, statements: list[Statement]) -> list[Row]:
        was_open = self._connection is not None and not self._connection.closed
        try:
            return await self._run(statements)
        except DatabaseUnavailable:
            if not was_open:
                raise
            return await self._run(statements)

    async def _run(self, statements: list[Statement]) -> list[Row]:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = await self._database.connect()
                self._on_connect()
                for statement in self._begin:
                    async with cursor(self._connection) as opened:
                        await opened.execute(statement)
            async with cursor(self._connection, self._timeout_seconds) as opened:
                if len(statements) == 1:
                    await opened.execute(*statements[0])
                else:
                    # Sent as one, several are one transaction.
                    await opened.execute(b";".join(opened.mogrify(*statement) for statement in statements).decode())
                # Nothing to wait for: aiopg has read all of the answer.
                return list(await opened.fetchall()) if opened.description else []
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it; the next statement opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def array_text(numbers: Iterable[int | None]) -> str:
    """An array of numbers as Postgres writes it, to be cast there.

    A list would become ARRAY[…], whose elements the driver, the parser and the planner take one by one: of a batch of
    500 that is most of what client and server do with it.
    """
    return "{" + ",".join(["null" if number is None else str(number) for number in numbers]) + "}"

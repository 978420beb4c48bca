"""Pools of connections, as SQLAlchemy's AsyncEngine gives them out."""

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy import exc

from tests.simulation.driver import Connection, Wire, connect
from tests.simulation.loops import Loop
from tests.simulation.requests import COMMIT, ROLLBACK

POOL_TIMEOUT_S = 5.0


class Result:
    """Rows, as SQLAlchemy gives them."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows
        self.rowcount = len(rows)

    def __iter__(self) -> Any:
        return iter(self._rows)

    def all(self) -> list[Any]:
        return self._rows

    def one(self) -> Any:
        (row,) = self._rows
        return row

    def one_or_none(self) -> Any:
        return self._rows[0] if self._rows else None

    def scalars(self) -> list[Any]:
        return [row[0] for row in self._rows]


class Checkout:
    """A connection of the pool for one block: in a transaction that is committed at its end (`begin`), that
    is not (`connect`), or with each statement for itself."""

    __slots__ = ("_commits", "_connection", "_engine", "_is_single")

    def __init__(self, engine: "Engine", *, commits: bool, is_single: bool) -> None:
        self._engine = engine
        self._commits = commits
        self._is_single = is_single
        self._connection: Connection | None = None

    async def execute(self, statement: Any, parameters: Any = None) -> Result:
        assert self._connection is not None
        return Result(await self._connection.ask(statement, parameters, commits=self._is_single))

    async def scalar(self, statement: Any, parameters: Any = None) -> Any:
        assert self._connection is not None
        rows = await self._connection.ask(statement, parameters, commits=self._is_single)
        return rows[0][0] if rows else None

    async def __aenter__(self) -> "Checkout":
        self._connection = await self._engine.take()
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        connection = self._connection
        assert connection is not None
        try:
            if self._is_single or (connection.is_lost and error is not None):
                pass
            elif error is None and self._commits:
                await connection.ask(COMMIT)
            elif error is None and connection.has_written_nothing():
                connection.forget_transaction()  # as good as a round trip, and cheaper to simulate
            elif error is None or isinstance(error, Exception):
                await connection.ask(ROLLBACK)
            else:
                connection.drop()
        except Exception:
            connection.drop()
            if error is None:
                raise
        finally:
            self._engine.give_back(connection)


class Engine:
    """A pool of connections of one process."""

    def __init__(
        self,
        wire: Wire,
        loop: Loop,
        owner: Any,
        *,
        name: str,
        pool_size: int,
        statement_timeout_s: float = 30.0,
        is_single: bool = False,
        is_silent: Callable[[], bool] = lambda: False,
    ) -> None:
        self._wire = wire
        self._loop = loop
        self._owner = owner
        self._name = name
        self._size = pool_size
        self._statement_timeout_s = statement_timeout_s
        self._is_single = is_single
        self._is_silent = is_silent
        self._idle: list[Connection] = []
        self._open = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._shared = self

    def execution_options(self, *, isolation_level: str) -> "Engine":
        assert isolation_level == "AUTOCOMMIT"
        twin = Engine(self._wire, self._loop, self._owner, name=self._name, pool_size=0, is_single=True)
        twin._shared = self
        return twin

    def begin(self) -> Checkout:
        return Checkout(self, commits=True, is_single=self._is_single)

    def connect(self) -> Checkout:
        return Checkout(self, commits=False, is_single=self._is_single)

    async def take(self) -> Connection:
        pool = self._shared
        while True:
            if pool._is_silent():
                raise ConnectionError("the database does not answer")
            while pool._idle:
                connection = pool._idle.pop()
                if not connection.is_lost:
                    return connection
                pool._open -= 1
            if pool._open < pool._size:
                pool._open += 1
                try:
                    return await connect(
                        pool._wire,
                        pool._loop,
                        pool._owner,
                        name=pool._name,
                        statement_timeout_s=pool._statement_timeout_s,
                    )
                except BaseException:
                    pool._open -= 1
                    pool._wake()
                    raise
            turn = pool._loop.create_future()
            pool._waiting.append(turn)
            try:
                async with asyncio.timeout(POOL_TIMEOUT_S):
                    await turn
            except TimeoutError:
                raise exc.TimeoutError("the pool's limit is reached") from None
            finally:
                if turn in pool._waiting:
                    pool._waiting.remove(turn)

    def give_back(self, connection: Connection) -> None:
        pool = self._shared
        if connection.is_lost:
            pool._open -= 1
        else:
            pool._idle.append(connection)
        pool._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
                return

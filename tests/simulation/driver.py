"""The client's end of the database: single connections, and everything that goes wrong on the way.

Stands where asyncpg's Connection stands. A request takes a moment to arrive and to be answered; meanwhile
the connection may be cut (was it carried out?), the server may hang or be gone, and who waits too long gives
up. Errors are the real drivers' own, for `store.is_outage` tells them apart.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.simulation.database import Backend, Database
from tests.simulation.loops import Loop, Violation, World
from tests.simulation.requests import COMMIT, ROLLBACK, Request
from tests.simulation.statements import Handler

CONNECT_TIMEOUT_S = 3.0


class Wire:
    """The network between one process and the database, and what is wrong with it."""

    def __init__(self, world: World, database: Database, catalogue: dict[Any, Handler]) -> None:
        self.world = world
        self.database = database
        self.catalogue = catalogue
        self.is_cut_off = False
        """Nothing arrives, neither way, and nobody is told."""
        self.parked: list[Callable[[], None]] = []
        self.connections: list[Connection] = []
        self.connecting: dict[asyncio.Future[Any], str] = {}
        self.slowness = 1.0
        self.flakiness = 0.0
        """How likely a commit's connection breaks at the commit, before or after."""

    def abandon(self, end: str) -> None:
        """What store.abandon is for this process."""
        for connection in list(self.connections):
            if connection.name.endswith(end):
                connection.drop()
        for future, name in list(self.connecting.items()):
            if name.endswith(end):
                _set(future, TimeoutError())

    def heal(self) -> None:
        self.is_cut_off = False
        parked, self.parked = self.parked, []
        for do in parked:
            do()

    def latency_s(self) -> float:
        return (0.0003 + 0.0015 * self.world.random.random()) * self.slowness


class Connection:
    """One connection, for whoever has it to himself."""

    def __init__(self, wire: Wire, backend: Backend, loop: Loop, statement_timeout_s: float) -> None:
        self._wire = wire
        self._world = wire.world
        self._database = wire.database
        self._backend = backend
        self.name = backend.name
        self._loop = loop
        self._statement_timeout_s = statement_timeout_s
        self._pending: asyncio.Future[Any] | None = None
        self._request: Request | None = None
        self._on_termination: list[Callable[[Any], None]] = []
        self.is_lost = False
        """We know that it is no good any more."""
        self.in_transaction = False
        backend.on_end = self._ended
        wire.connections.append(self)

    # --- asking -----------------------------------------------------------------------------------

    async def ask(self, statement: Any, parameters: Any = None, *, commits: bool = False) -> list[Any]:
        """One round trip. `commits`: the statement is a transaction by itself."""
        if self.is_lost:
            raise asyncpg.InterfaceError("connection is closed")
        if self._pending is not None:
            raise Violation("two statements at once on one connection")
        future = self._pending = self._loop.create_future()
        request = self._request = Request(self, statement, parameters, commits, self._world.now)
        self._world.at(self._wire.latency_s(), request.arrive)
        try:
            rows: list[Any] = await future
            return rows
        except asyncio.CancelledError:
            self.drop("cancelled")
            raise
        finally:
            if self._pending is future:
                self._pending = None

    def answer(self, request: "Request", rows: list[Any] | Exception) -> None:
        """The answer arrives, if anybody still waits for it."""
        if self._wire.is_cut_off:
            self._wire.parked.append(lambda: self.answer(request, rows))
            self._database.watch_idle(self._backend)
            return
        if self._request is not request or self._loop.is_dead:
            return
        self._request = None
        if self._loop.is_paused:
            self._database.watch_idle(self._backend)
        self._loop.call_soon(self._settle, self._pending, rows)

    def _settle(self, future: "asyncio.Future[Any]", outcome: Any) -> None:
        if not future.done():
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def fail(self, error: Exception) -> None:
        """The connection is gone, and its client knows."""
        self.is_lost = True
        self._forget()
        if self._loop.is_dead:
            return
        if self._request is not None:
            self._request = None
            if self._pending is not None:
                self._loop.call_soon(self._settle, self._pending, error)
        for listener in self._on_termination:
            self._loop.call_soon(listener, self)

    def drop(self, why: str = "closed") -> None:
        """The client gives the connection up; the server notices as soon as it may."""
        if not self.is_lost:
            self.is_lost = True
            self._forget()
        request, self._request = self._request, None
        if self._pending is not None and not self._loop.is_dead:
            self._loop.call_soon(self._settle, self._pending, _terminated())
        backend, database = self._backend, self._database
        backend.on_end = None

        def notice() -> None:
            if request is not None and not request.has_arrived and self._world.chance(0.5):
                request.carry_out_unheard()
            database.end(backend)

        if self._wire.is_cut_off:
            database.watch_idle(backend)
            self._wire.parked.append(notice)
        elif database.is_frozen:
            database.parked.append(notice)
        else:
            notice()

    @property
    def is_busy(self) -> bool:
        return self._request is not None

    def client_stands_still(self) -> None:
        """The client does not run for a while: the server ends what idles in a transaction."""
        if self._request is None:
            self._database.watch_idle(self._backend)

    def cut(self) -> None:
        """The network breaks it: each side learns at once, what was under way may have got through."""
        request = self._request
        if request is not None and self._world.chance(0.5):
            request.carry_out_unheard()
        self._backend.on_end = None
        self._database.end(self._backend)
        self.fail(ConnectionResetError("connection reset by peer"))

    def _ended(self) -> None:
        """The server ended the backend."""
        if self._wire.is_cut_off:
            self._wire.parked.append(lambda: self.fail(_terminated()))
        else:
            self.fail(_terminated())

    def has_written_nothing(self) -> bool:
        transaction = self._backend.transaction
        return transaction is None or not (transaction.writes or transaction.locks)

    def forget_transaction(self) -> None:
        self._database.rollback(self._backend)

    def _forget(self) -> None:
        if self in self._wire.connections:
            self._wire.connections.remove(self)

    # --- as asyncpg ---------------------------------------------------------------------------------

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        return await self.ask(statement, arguments, commits=not self.in_transaction)

    async def fetchrow(self, statement: str, *arguments: Any) -> Any:
        rows = await self.fetch(statement, *arguments)
        return rows[0] if rows else None

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        row = await self.fetchrow(statement, *arguments)
        return None if row is None else next(iter(row.values()))

    async def execute(self, statement: str, *arguments: Any, timeout: float | None = None) -> None:
        await self.fetch(statement, *arguments)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self.in_transaction = True
        try:
            yield
        except Exception:
            if not self.is_lost:
                await self.ask(ROLLBACK)
            raise
        else:
            await self.ask(COMMIT)
        finally:
            self.in_transaction = False

    async def add_listener(self, channel: str, listener: Callable[..., None]) -> None:
        await self.ask("SELECT 1", commits=True)

        def hear(notice: str) -> None:
            if not self._wire.is_cut_off and not self._loop.is_dead and not self.is_lost:
                self._loop.call_soon(listener, self, self._backend.pid, channel, notice)

        self._backend.listens = hear

    def add_termination_listener(self, listener: Callable[[Any], None]) -> None:
        self._on_termination.append(listener)

    def is_closed(self) -> bool:
        return self.is_lost

    async def close(self, *, timeout: float | None = None) -> None:
        self.drop()

    def terminate(self) -> None:
        self.drop()


async def connect(wire: Wire, loop: Loop, owner: Any, *, name: str, statement_timeout_s: float) -> Connection:
    """A new connection. Raises: OSError, TimeoutError, or what a server says that cannot take it."""
    world, database = wire.world, wire.database
    future = loop.create_future()

    def arrive(may_park: bool) -> None:
        if future.done() or loop.is_dead:
            return
        if wire.is_cut_off or database.is_frozen:
            if may_park:
                world.at(CONNECT_TIMEOUT_S, arrive, False)
            else:
                loop.call_soon(_set, future, TimeoutError())
        elif not database.is_up:
            loop.call_soon(_set, future, ConnectionRefusedError("connection refused"))
        else:
            backend = database.connect(name, owner)
            made = Connection(wire, backend, loop, statement_timeout_s)
            loop.call_soon(_set, future, made)

    world.at(3 * wire.latency_s(), arrive, True)
    wire.connecting[future] = name
    try:
        made: Connection = await future
    finally:
        del wire.connecting[future]
    return made


def _set(future: "asyncio.Future[Any]", outcome: Any) -> None:
    if future.done():
        if isinstance(outcome, Connection):
            outcome.drop()
    elif isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _terminated() -> Exception:
    return asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

"""One statement on its way: to the server, perhaps into a queue for a lock, and back.

Everything that may happen to it in between is decided here: the network or the server stands still, the
connection breaks at the commit, the lock comes too late.
"""

from typing import TYPE_CHECKING, Any

import asyncpg

from tests.simulation.database import Backend, Database, MustWait, Transaction, canceled
from tests.simulation.loops import Handle, Violation

if TYPE_CHECKING:
    from tests.simulation.driver import Connection

COMMAND_MARGIN_S = 3.0
"""So much after the server should have given up, the client does (see store.engine)."""
COMMIT, ROLLBACK = "COMMIT", "ROLLBACK"


class Request:
    """One statement on its way."""

    __slots__ = (
        "_connection",
        "_deadline",
        "_is_waiting",
        "commits",
        "has_arrived",
        "parameters",
        "sent_s",
        "statement",
    )

    def __init__(
        self, connection: "Connection", statement: Any, parameters: Any, commits: bool, sent_s: float
    ) -> None:
        self._connection = connection
        self.statement = statement
        self.parameters = parameters
        self.commits = commits
        self.sent_s = sent_s
        self.has_arrived = False
        self._is_waiting = False
        self._deadline: Handle | None = None

    @property
    def _is_open(self) -> bool:
        return self._connection._request is self

    def arrive(self) -> None:
        """At the server, unless something is between."""
        connection = self._connection
        if not self._is_open or connection._backend.is_dead:
            return
        wire, database = connection._wire, connection._database
        if wire.is_cut_off or database.is_frozen:
            parked = wire.parked if wire.is_cut_off else database.parked
            parked.append(self.arrive)
            self._give_up_in_time()
            return
        ends = self.commits or self.statement is COMMIT
        if ends and wire.flakiness and wire.world.chance(wire.flakiness):
            wire.world.count("commits of unknown outcome")
            connection.cut()
            return
        self.has_arrived = True
        self.carry_out()

    def carry_out(self) -> None:
        """The server does it, or lets it wait for a lock."""
        connection = self._connection
        backend, database = connection._backend, connection._database
        if backend.is_dead:
            return
        backend.turns += 1
        try:
            rows = self._execute(database, backend)
        except MustWait as wait:
            self._wait(wait.holders)
            return
        except asyncpg.PostgresError as error:
            if backend.transaction is not None:
                backend.transaction.is_aborted = True
                if self.commits:
                    database.rollback(backend)
            connection.answer(self, error)
            return
        connection.answer(self, rows)

    def carry_out_unheard(self) -> None:
        """It got through, but the answer did not."""
        backend, database = self._connection._backend, self._connection._database
        if backend.is_dead or (backend.transaction is not None and backend.transaction.waits_for):
            return
        try:
            self._execute(database, backend)
        except (MustWait, asyncpg.PostgresError):
            return

    def _execute(self, database: Database, backend: Backend) -> list[Any]:
        statement = self.statement
        if statement is COMMIT:
            _refuse_when_full(database, backend.transaction)
            database.commit(backend)
            return []
        if statement is ROLLBACK:
            database.rollback(backend)
            return []
        key = statement if isinstance(statement, str) else id(statement)
        handler = self._connection._wire.catalogue.get(key)
        if handler is None:
            raise Violation(f"the simulated database does not know this statement: {statement}")
        transaction = database.begin(backend)
        if transaction.is_aborted:
            raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
        rows = handler(transaction, self.parameters)
        if self.commits:
            _refuse_when_full(database, transaction)
            database.commit(backend)
        return rows

    def _wait(self, holders: set[Transaction]) -> None:
        connection = self._connection
        world = connection._world
        own = connection._backend.transaction
        assert own is not None
        own.waits_for = holders
        if not self._is_waiting:
            self._is_waiting = True
            self._deadline = world.at(connection._statement_timeout_s, self._time_out)
            self._give_up_in_time()
        if connection._database.is_deadlocked(own):
            world.at(1.0, self._end_deadlock, own)

        def again() -> None:
            for holder in holders:
                if again in holder.waiters:
                    holder.waiters.remove(again)
            if own.waits_for is holders:
                own.waits_for = set()
                world.at(0.0, self._again)

        for holder in holders:
            holder.waiters.append(again)

    def _again(self) -> None:
        if not self._connection._backend.is_dead:
            self._is_waiting = True
            self.carry_out()
            own = self._connection._backend.transaction
            if (own is None or not own.waits_for) and self._deadline is not None:
                self._deadline.cancel()

    def _time_out(self) -> None:
        self._refuse(canceled())

    def _end_deadlock(self, own: Transaction) -> None:
        if own.waits_for and self._connection._database.is_deadlocked(own):
            self._refuse(asyncpg.DeadlockDetectedError("deadlock detected"))

    def _refuse(self, error: Exception) -> None:
        """A statement that waits is ended by the server."""
        connection = self._connection
        backend = connection._backend
        if backend.is_dead or backend.transaction is None or not backend.transaction.waits_for:
            return
        backend.transaction.waits_for = set()
        backend.transaction.is_aborted = True
        if self.commits:
            connection._database.rollback(backend)
        connection.answer(self, error)

    def _give_up_in_time(self) -> None:
        connection = self._connection
        connection._world.at(connection._statement_timeout_s + COMMAND_MARGIN_S, self._give_up)

    def _give_up(self) -> None:
        connection = self._connection
        if self._is_open and not connection._loop.is_dead:
            if connection._pending is not None:
                connection._loop.call_soon(connection._settle, connection._pending, TimeoutError())
            connection.drop()


def _refuse_when_full(database: Database, transaction: Transaction | None) -> None:
    if database.is_full and transaction is not None and transaction.writes:
        tables = {table for table, _ in transaction.writes}
        if tables - {"leadership"}:
            raise asyncpg.DiskFullError("could not extend file: No space left on device")

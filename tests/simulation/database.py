"""PostgreSQL as far as Curta leans on it: tables, transactions, row locks, an advisory lock, backends that
end.

READ COMMITTED: a statement sees what was committed before it, and its own transaction's writes. A write
locks its row until the transaction ends; FOR KEY SHARE and FOR UPDATE on the leadership's row meet exactly
as there (see store/journal.py). What the statements do is `statements`'; what a client makes of it is
`driver`'s; a differential test holds all three against the real one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import asyncpg

from tests.simulation.loops import EPOCH_S, World

KEY_SHARE, NO_KEY_UPDATE, UPDATE = range(3)
"""Row locks, weakest first. KEY SHARE goes with NO KEY UPDATE and with itself; nothing else goes together."""

DEADLOCK_S = 1.0
IDLE_IN_TRANSACTION_S = 5.0
LEADERSHIP = ("leadership", 1)

Key = tuple[str, Any]


@dataclass(slots=True)
class Expression:
    """A row of `expressions`; times are microseconds."""

    id: UUID
    owner: str
    client_id: str | None
    text: str
    optimize: bool
    status: str
    plan: bytes
    tasks: int
    durations: tuple[int, ...]
    epoch: int
    value: str | None
    result: str | None
    exact: str | None
    created_us: int
    started_us: int | None = None
    finished_us: int | None = None
    tasks_done: int = 0
    error_code: str | None = None
    error_message: str | None = None
    error_task: str | None = None


@dataclass(slots=True)
class JournalEntry:
    expression: UUID
    task: int
    value: str | None
    agent: UUID
    attempt: int
    started_us: int
    finished_us: int


@dataclass(slots=True)
class Agent:
    id: UUID
    name: str
    token_id: UUID
    owner: str
    slots: int
    operations: list[str]
    version: str
    connected: bool
    draining: bool
    connected_us: int
    seen_us: int
    lost_us: int | None = None
    removed_until_us: int | None = None


@dataclass(slots=True)
class Leadership:
    epoch: int = 0
    leader: UUID | None = None
    url: str | None = None
    secret: str | None = None
    beat_us: int | None = None


class MustWait(Exception):
    """The statement waits for these transactions to end; then it is tried again from its start."""

    def __init__(self, holders: "set[Transaction]") -> None:
        self.holders = holders


@dataclass(eq=False, slots=True)
class Lock:
    """Who holds a row, and how."""

    holders: "dict[Transaction, int]" = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Transaction:
    """What a backend has written and locked and not yet committed."""

    database: "Database"
    backend: "Backend"
    number: int
    writes: dict[Key, Any] = field(default_factory=dict)
    locks: dict[Key, int] = field(default_factory=dict)
    epochs: set[int] = field(default_factory=set)
    """The terms that its statements claimed to belong to."""
    notices: list[str] = field(default_factory=list)
    is_aborted: bool = False
    waiters: list[Callable[[], None]] = field(default_factory=list)
    waits_for: "set[Transaction]" = field(default_factory=set)

    def __hash__(self) -> int:
        return self.number

    def get(self, table: str, key: Any) -> Any:
        """The row as this transaction sees it, None where there is none."""
        own = self.writes.get((table, key))
        return own if own is not None else self.database.tables[table].get(key)

    def rows(self, table: str) -> Iterator[Any]:
        """All rows of the table as this transaction sees them."""
        committed = self.database.tables[table]
        if not self.writes:
            yield from list(committed.values())
            return
        own = {key: row for (of, key), row in self.writes.items() if of == table}
        for key, row in list(committed.items()):
            yield own.pop(key, row)
        yield from own.values()

    def lock(self, key: Key, mode: int = NO_KEY_UPDATE) -> None:
        """Take the row. Raises: MustWait."""
        lock = self.database.locks.get(key)
        if lock is None:
            lock = self.database.locks[key] = Lock()
        against = {
            holder for holder, held in lock.holders.items() if holder is not self and _conflict(mode, held)
        }
        if against:
            raise MustWait(against)
        lock.holders[self] = max(mode, lock.holders.get(self, KEY_SHARE))
        self.locks[key] = lock.holders[self]

    def is_free(self, key: Key) -> bool:
        """Whether nobody else has the row locked (SKIP LOCKED)."""
        lock = self.database.locks.get(key)
        return lock is None or all(holder is self for holder in lock.holders)

    def change(self, table: str, key: Any, **columns: Any) -> Any:
        """Update the row, which must be locked."""
        row = self.writes[(table, key)] = replace(self.get(table, key), **columns)
        return row

    def insert(self, table: str, key: Any, row: Any) -> None:
        self.writes[(table, key)] = row

    def leads(self, epoch: int) -> bool:
        """The statements' `lead`: the leadership's row, if it is of this epoch, held FOR KEY SHARE."""
        if self.get(*LEADERSHIP).epoch != epoch:
            return False
        self.lock(LEADERSHIP, KEY_SHARE)
        # Whoever waited looks again.
        if self.get(*LEADERSHIP).epoch != epoch:
            return False
        self.epochs.add(epoch)
        return True


def _conflict(mode: int, held: int) -> bool:
    if KEY_SHARE in (mode, held):
        return UPDATE in (mode, held)
    return True


@dataclass(eq=False, slots=True)
class Backend:
    """The database's end of one connection."""

    pid: int
    name: str
    owner: Any
    """Whose connection it is; the faults ask."""
    transaction: Transaction | None = None
    listens: Callable[[str], None] | None = None
    on_end: Callable[[], None] | None = None
    is_dead: bool = False
    turns: int = 0
    """Statements served: whether it was idle since then."""


class Database:
    """The server. `on_commit` sees every transaction just before its writes count."""

    def __init__(self, world: World, durations: dict[str, int]) -> None:
        self.world = world
        self.tables: dict[str, dict[Any, Any]] = {
            "leadership": {1: Leadership()},
            "expressions": {},
            "journal": {},
            "agents": {},
            "operations": dict(durations),
            "tokens": {},
            "orchestrators": {},
        }
        self.locks: dict[Key, Lock] = {}
        self.advisory: Backend | None = None
        self.backends: dict[int, Backend] = {}
        self.on_commit: Callable[[Transaction], None] = lambda transaction: None
        self.is_up = True
        self.is_frozen = False
        self.is_full = False
        self.parked: list[Callable[[], None]] = []
        """What waits for it to thaw."""
        self._pids = 0
        self._transactions = 0

    @property
    def clock_us(self) -> int:
        return round((self.world.now + EPOCH_S) * 1_000_000)

    @property
    def leadership(self) -> Leadership:
        row: Leadership = self.tables["leadership"][1]
        return row

    @property
    def expressions(self) -> dict[UUID, Expression]:
        return self.tables["expressions"]

    @property
    def journal(self) -> dict[tuple[UUID, int], JournalEntry]:
        return self.tables["journal"]

    def rows_of(self, expression: UUID) -> list[JournalEntry]:
        """The expression's journal, by task."""
        entry = self.expressions.get(expression)
        if entry is None:
            return []
        journal = self.journal
        return [journal[expression, task] for task in range(entry.tasks) if (expression, task) in journal]

    # --- backends ---

    def connect(self, name: str, owner: Any) -> Backend:
        self._pids += 1
        backend = self.backends[self._pids] = Backend(self._pids, name, owner)
        return backend

    def end(self, backend: Backend) -> None:
        """The backend goes: its transaction is rolled back, its session's lock is free."""
        if backend.is_dead:
            return
        backend.is_dead = True
        del self.backends[backend.pid]
        if self.advisory is backend:
            self.advisory = None
        if backend.transaction is not None:
            self.rollback(backend)
        if backend.on_end is not None:
            backend.on_end()

    def go_down(self) -> None:
        """It stops, or fails: every connection is gone."""
        self.is_up = False
        for backend in list(self.backends.values()):
            self.end(backend)

    def thaw(self) -> None:
        self.is_frozen = False
        parked, self.parked = self.parked, []
        for do in parked:
            do()

    # --- transactions ---

    def begin(self, backend: Backend) -> Transaction:
        if backend.transaction is None:
            self._transactions += 1
            backend.transaction = Transaction(self, backend, self._transactions)
        return backend.transaction

    def commit(self, backend: Backend) -> None:
        transaction = backend.transaction
        if transaction is None:
            return
        if transaction.is_aborted:
            self.rollback(backend)
            return
        if transaction.writes:
            if self.world.trace is not None:
                self._note(backend, transaction)
            self.on_commit(transaction)
            for (table, key), row in transaction.writes.items():
                self.tables[table][key] = row
        self._release(backend, transaction)
        for notice in transaction.notices:
            for other in list(self.backends.values()):
                if other.listens is not None:
                    other.listens(notice)

    def _note(self, backend: Backend, transaction: Transaction) -> None:
        """What is committed, in the event log: ends of ids, with what an expression becomes."""
        rows: dict[str, list[str]] = {}
        for (table, key), row in transaction.writes.items():
            if table == "expressions":
                shown = f"{str(key)[-6:]} {row.status} of {row.epoch}"
            elif table == "journal":
                shown = f"{str(key[0])[-6:]}.{key[1]}#{row.attempt & 0xFFFFF}"
            elif table == "leadership":
                shown = f"term {row.epoch}"
            else:
                shown = str(key)[-6:]
            rows.setdefault(table, []).append(shown)
        if set(rows) - {"leadership", "orchestrators"}:
            what = "; ".join(f"{table} {', '.join(shown)}" for table, shown in rows.items())
            self.world.note(backend.owner.name, "commits", what)

    def rollback(self, backend: Backend) -> None:
        if backend.transaction is not None:
            self._release(backend, backend.transaction)

    def _release(self, backend: Backend, transaction: Transaction) -> None:
        backend.transaction = None
        for key in transaction.locks:
            lock = self.locks[key]
            del lock.holders[transaction]
            if not lock.holders:
                del self.locks[key]
        transaction.locks.clear()
        waiters, transaction.waiters = transaction.waiters, []
        for waiter in waiters:
            waiter()

    def is_deadlocked(self, transaction: Transaction) -> bool:
        """Whether it waits, over whatever way, for itself."""
        seen: set[Transaction] = set()
        ahead = set(transaction.waits_for)
        while ahead:
            one = ahead.pop()
            if one is transaction:
                return True
            if one not in seen:
                seen.add(one)
                ahead |= one.waits_for
        return False

    def watch_idle(self, backend: Backend) -> None:
        """idle_in_transaction_session_timeout, for a client that may not come back."""
        if backend.transaction is not None and not backend.is_dead:
            transaction, turns = backend.transaction, backend.turns
            self.world.at(IDLE_IN_TRANSACTION_S, self._end_idle, backend, transaction, turns)

    def _end_idle(self, backend: Backend, transaction: Transaction, turns: int) -> None:
        if backend.transaction is transaction and backend.turns == turns and not transaction.waits_for:
            self.end(backend)


def canceled() -> Exception:
    return asyncpg.QueryCanceledError("canceling statement due to statement timeout")

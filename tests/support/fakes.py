"""Stand-ins for what the REST routes lean on, in memory: a table, and a leader that knows what it is told.

They keep the real interfaces' promises and nothing more, so that a test of the routes needs no database.
What must hold against the real ones is tested in tests/integration/.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from curta_server import store
from curta_server.core.plan import Plan
from curta_server.errors import Problem, unavailable
from curta_server.feed import Feed
from curta_server.forwarding import Answer, Request
from curta_server.leadership import Leader
from curta_server.line import Unanswered
from curta_server.views import AgentView, Progress, RunView, Stats, TaskState
from curta_wire.frames import Assignment

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

Kept = store.ExpressionRow


@dataclass
class FakeToken:
    id: UUID
    name: str
    role: str
    expires_at: datetime | None = None
    session: UUID | None = None
    session_expires_at: datetime | None = None

    @property
    def ends_at(self) -> datetime | None:
        return self.session_expires_at or self.expires_at


class FakeCredentials:
    """Secrets as `<name>-<role>`, each a token that is good for ever; of its sessions as
    `session-<n>-<name>-<role>`. `due` are the sessions to be renewed."""

    def __init__(self) -> None:
        self.tokens: dict[str, FakeToken] = {}
        self.sessions: dict[str, FakeToken] = {}
        self.due: set[str] = set()
        self.away = False
        self.is_bootstrapped = True

    def add(self, name: str, role: str) -> str:
        secret = f"{name}-{role}"
        self.tokens[secret] = FakeToken(uuid4(), name, role)
        return secret

    async def verify(self, secret: str) -> FakeToken | None:
        if self.away:
            raise unavailable("The database cannot be reached.")
        return self.tokens.get(secret)

    async def signed_in(self, secret: str) -> FakeToken | None:
        if self.away:
            raise unavailable("The database cannot be reached.")
        return self.sessions.get(secret)

    async def sign_in(self, token: FakeToken) -> tuple[FakeToken, str]:
        secret = f"session-{len(self.sessions)}-{token.name}-{token.role}"
        self.sessions[secret] = replace(token, session=uuid4(), session_expires_at=NOW)
        return self.sessions[secret], secret

    async def renew(self, secret: str, token: FakeToken) -> bool:
        is_due = secret in self.due
        self.due.discard(secret)
        return is_due

    async def sign_out(self, secret: str) -> None:
        self.sessions.pop(secret, None)

    @asynccontextmanager
    async def while_good(self, token: Any) -> AsyncIterator[None]:
        yield

    async def list(self) -> list[store.TokenRow]:
        return [_token_row(token) for token in self.tokens.values()]

    async def create(self, name: str, role: str, expires_at: datetime | None) -> tuple[store.TokenRow, str]:
        if not 1 <= len(name) <= 255 or not name.isprintable() or role not in store.ROLES:
            raise Problem("unprocessable", "A name or role that cannot be.")
        secret = self.add(name, role)
        self.tokens[secret].expires_at = expires_at
        return _token_row(self.tokens[secret]), secret

    async def revoke(self, id: UUID) -> str:
        found = [secret for secret, token in self.tokens.items() if token.id == id]
        if not found:
            return "unknown"
        if (
            self.tokens[found[0]].role == "admin"
            and sum(t.role == "admin" for t in self.tokens.values()) == 1
        ):
            return "last_admin"
        del self.tokens[found[0]]
        return "revoked"


def _token_row(token: FakeToken) -> store.TokenRow:
    return store.TokenRow(token.id, token.name, token.role, NOW, token.expires_at, None, None)


class FakeDispatcher:
    """A leader that holds what a test puts into it."""

    def __init__(self, feed: Feed | None = None) -> None:
        self.feed = feed or Feed()
        self.leading = True
        self.progresses: dict[str, Progress] = {}
        self.just_started: list[str] = []
        self.states: dict[str, dict[int, TaskState]] = {}
        self.plans: dict[str, Plan] = {}
        self.views: list[AgentView] = []
        self.runs_of: dict[str, list[RunView]] = {}
        self.was_cancelled: list[str] = []
        self.durations: dict[str, int] = {}
        self.drained: list[str] = []
        self.removed: list[str] = []

    def progress(self, expression: str) -> Progress | None:
        return self.progresses.get(expression)

    def started(self) -> list[str]:
        return [*self.just_started]

    def task_states(self, expression: str, tasks: Sequence[int]) -> dict[int, TaskState] | None:
        known = self.states.get(expression)
        return None if known is None else {task: known[task] for task in tasks if task in known}

    def plan(self, expression: str) -> Plan | None:
        return self.plans.get(expression)

    def cancelled(self, expression: str) -> None:
        self.was_cancelled.append(expression)
        self.feed.publish_final(expression)

    def set_duration(self, operation: str, duration_ms: int) -> None:
        self.durations[operation] = duration_ms

    def agents(self) -> list[AgentView]:
        return list(self.views)

    def runs(self, agent: str, most: int) -> list[RunView]:
        return self.runs_of.get(agent, [])[:most]

    async def drain(self, agent: str) -> bool:
        self.drained.append(agent)
        return any(view.id == agent for view in self.views)

    async def remove(self, agent: str) -> bool:
        self.removed.append(agent)
        return any(view.id == agent for view in self.views)

    def stats(self) -> Stats:
        return Stats(self.leading, {"ready": 2, "running": 1}, {"connected": len(self.views)}, 8, 1, 1, 0)


class FakeLeadership:
    """Who leads, where it is another process."""

    def __init__(self) -> None:
        self.other: Leader | None = None


class FakeThere:
    """Another orchestrator's memory, as far as it can be asked; None as `known` answers nothing."""

    def __init__(self) -> None:
        self.known: FakeDispatcher | None = None
        self.asked = 0

    async def progress(self, expressions: Sequence[str]) -> dict[str, Progress]:
        found = {id: self._leader().progress(id) for id in expressions}
        return {id: progress for id, progress in found.items() if progress is not None}

    async def started(self) -> list[str]:
        return self._leader().started()

    async def task_states(self, expression: str, tasks: Sequence[int]) -> dict[int, TaskState] | None:
        return self._leader().task_states(expression, tasks)

    def _leader(self) -> FakeDispatcher:
        self.asked += 1
        if self.known is None:
            raise Unanswered("nobody is there")
        return self.known


class FakeNotices:
    """What other orchestrators were told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def send(self, topic: str, detail: str = "") -> None:
        self.sent.append((topic, detail))


class FakeForwarding:
    """A leader that answers what a test put there, or nothing."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.requests: list[Request] = []

    async def send(self, request: Request) -> Answer:
        self.requests.append(request)
        if self.answer is None:
            raise unavailable("No orchestrator leads at the moment.")
        return self.answer


class FakePull:
    """Hands out what a test put there, and remembers the answers."""

    def __init__(self) -> None:
        self.ready: list[Assignment] = []
        self.taken: list[tuple[str, str | None, int, list[str] | None, float]] = []
        self.results: list[tuple[str, int, str | None, str | None, str]] = []
        self.renewed: list[tuple[str, int | None]] = []
        self.refusal: Problem | None = None

    async def take(
        self, token: Any, agent: str | None, slots: int, operations: list[str] | None, wait_s: float
    ) -> list[Assignment]:
        self.taken.append((token.name, agent, slots, operations, wait_s))
        tasks, self.ready = self.ready[:slots], self.ready[slots:]
        return tasks

    async def result(
        self, token: Any, task: str, attempt: int, value: str | None, code: str | None, message: str
    ) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.results.append((task, attempt, value, code, message))

    async def renew(self, token: Any, task: str, attempt: int | None) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.renewed.append((task, attempt))


@dataclass
class FakeTable:
    """The store's statements on a dictionary; `failing` makes every one of them raise it."""

    rows: dict[UUID, Kept] = field(default_factory=dict)
    plans: dict[UUID, tuple[str, bytes]] = field(default_factory=dict)
    journal: dict[UUID, list[store.JournalRow]] = field(default_factory=dict)
    operation_rows: list[store.OperationRow] = field(
        default_factory=lambda: [
            store.OperationRow("addition", "+", 1000),
            store.OperationRow("subtraction", "-", 1000),
            store.OperationRow("multiplication", "*", 2000),
            store.OperationRow("division", "/", 2000),
        ]
    )
    failing: BaseException | None = None
    batches: list[int] = field(default_factory=list)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (
            "operations", "set_duration", "expression", "list_expressions", "cancel_expression", "plan_of",
            "journal_rows", "journal_took", "count_journalled", "count_open", "count_open_of",
        ):  # fmt: skip
            monkeypatch.setattr(store, name, getattr(self, name))

    # The engine's part.

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[FakeTable]:
        await asyncio.sleep(0)
        if self.failing is not None:
            raise self.failing
        yield self

    begin = connect

    # The intake's part.

    async def submit(self, drafts: Sequence[store.Draft]) -> list[store.Insertion]:
        if self.failing is not None:
            raise self.failing
        self.batches.append(len(drafts))
        return [self._insert(draft) for draft in drafts]

    def _insert(self, draft: store.Draft) -> store.Insertion:
        for row in self.rows.values():
            if draft.client_id is not None and (row.owner, row.client_id) == (draft.owner, draft.client_id):
                same = row.text == draft.text and row.optimize == draft.optimize
                return store.Reused(row) if same else store.Conflict(row.id)
        is_final = draft.value is not None
        created_at = NOW + timedelta(seconds=len(self.rows))
        self.rows[draft.id] = Kept(
            id=draft.id, owner=draft.owner, client_id=draft.client_id, head=draft.text[:200],
            text_length=len(draft.text), optimize=draft.optimize, status="done" if is_final else "queued",
            tasks=draft.tasks, tasks_done=0, durations=list(draft.durations), epoch=0, error_code=None,
            error_message=None, error_task=None, created_at=created_at, started_at=None,
            finished_at=created_at if is_final else None, text=draft.text, result=draft.result,
            exact=draft.exact,
        )  # fmt: skip
        self.plans[draft.id] = (draft.text, draft.plan_bytes)
        return store.Stored(draft.id, created_at, 0)

    # The statements, which take the engine's connection (this object again) first.

    async def operations(self, _: object) -> list[store.OperationRow]:
        return list(self.operation_rows)

    async def set_duration(self, _: object, name: str, duration_ms: int) -> store.OperationRow | None:
        for place, row in enumerate(self.operation_rows):
            if row.name == name:
                self.operation_rows[place] = replace(row, duration_ms=duration_ms)
                return self.operation_rows[place]
        return None

    async def expression(self, _: object, id: UUID, *, full: bool = False) -> Kept | None:
        row = self.rows.get(id)
        return row if row is None or full else _short(row)

    async def plan_of(self, _: object, id: UUID) -> tuple[str, bytes] | None:
        return self.plans.get(id)

    async def list_expressions(
        self,
        _: object,
        *,
        owner: str | None = None,
        statuses: Sequence[str] = (),
        q: str = "",
        before: UUID | None = None,
        limit: int = 50,
        started: Sequence[UUID] = (),
    ) -> list[Kept]:
        def status(row: Kept) -> str:
            return "running" if row.status == "queued" and row.id in started else row.status

        found = [
            _short(row)
            for row in sorted(self.rows.values(), key=lambda row: row.id, reverse=True)
            if (owner is None or row.owner == owner)
            and (not statuses or status(row) in statuses)
            and q.lower() in row.head.lower()
            and (before is None or row.id < before)
        ]
        return found[:limit]

    async def cancel_expression(
        self, _: object, id: UUID, *, owner: str | None = None, tasks_done: int | None = None
    ) -> str:
        row = self.rows.get(id)
        if row is None or (owner is not None and row.owner != owner):
            return "unknown"
        if row.is_final:
            return "already" if row.status == "cancelled" else "final"
        self.change(id, status="cancelled", finished_at=NOW)
        return "cancelled"

    async def journal_rows(self, _: object, id: UUID, tasks: Sequence[int]) -> list[store.JournalRow]:
        return [row for row in self.journal.get(id, ()) if row.task in tasks]

    async def count_journalled(self, _: object, expressions: Sequence[UUID]) -> dict[UUID, int]:
        return {id: len(self.journal[id]) for id in expressions if self.journal.get(id)}

    async def journal_took(self, _: object, id: UUID) -> tuple[int, int]:
        rows = self.journal.get(id, ())
        took_s = sum((row.finished_at - row.started_at).total_seconds() for row in rows)
        return len(rows), round(1000 * took_s)

    async def count_open(self, _: object) -> dict[str, int]:
        counts = {"queued": 0, "running": 0}
        for row in self.rows.values():
            if not row.is_final:
                counts[row.status] += 1
        return counts

    async def count_open_of(self, _: object, owner: str, most: int) -> int:
        return sum(row.owner == owner and not row.is_final for row in self.rows.values())

    def change(self, id: UUID | str, **columns: Any) -> None:
        """Another status, value or time for an expression, as a leader would write it."""
        known = UUID(str(id))
        self.rows[known] = replace(self.rows[known], **columns)


def _short(row: Kept) -> Kept:
    return replace(
        row,
        text=None,
        result=None if row.result is None else row.result[:201],
        exact=None if row.exact is None else row.exact[:201],
    )

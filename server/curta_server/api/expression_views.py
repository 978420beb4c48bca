"""Expressions as those may see them who ask: pages of the list, and single ones.

The one place that reads them for people: for the routes of `expressions` and `plan_tasks`, and for the topics
of `GET /live` (`expression_sources`). Knows neither requests nor rooms. An `owner` is a user's own name; None
stands for those who see everybody's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import UUID

from curta_server import store
from curta_server.api import reading, rendering
from curta_server.errors import Problem
from curta_server.leading import Memory
from curta_server.resources import CUT

if TYPE_CHECKING:
    from curta_server.api.services import Services


COUNTED_MAX = 1_000_000
"""Tasks, done or not, of the expressions whose rows of the journal are counted for one page: up to 0.1 s."""


@dataclass(frozen=True, slots=True)
class Window:
    """A page of the list: newest first, of these statuses or of all, whose beginning contains `q`, older than
    `before`."""

    owner: str | None
    statuses: Sequence[str]
    q: str
    before: UUID | None
    limit: int

    @classmethod
    def of(
        cls, owner: str | None, *, statuses: Sequence[str], q: str, cursor: bytes | None, limit: int
    ) -> Window:
        """Raises: Problem 422 for a `q` that cannot be, 400 for a cursor that is another list's."""
        if len(q) > CUT or "\0" in q:
            raise Problem("unprocessable", "`q` has at most 200 characters, and no NUL.")
        if cursor is not None and len(cursor) != 16:
            raise reading.invalid_cursor()
        return cls(owner, statuses, q, None if cursor is None else UUID(bytes=cursor), limit)


Seen = tuple[store.ExpressionRow, Memory]
"""A row, and what the leader's memory said just after it was read."""


async def page(services: Services, window: Window) -> tuple[list[Seen], str | None]:
    """The page as it stands, and the cursor of the next one.

    A row learns a moment later than the leader that its expression runs. Where the statuses asked for part
    the two, the leader is asked for such rows before, and what goes on meanwhile is left out after.
    """
    is_parting = ("queued" in window.statuses) != ("running" in window.statuses)
    started = [UUID(id) for id in await services.leading.started()] if is_parting else []
    seen: list[Seen] = []
    before, is_more = window.before, True
    while is_more and len(seen) <= window.limit:
        missing = window.limit + 1 - len(seen)
        async with services.engine.connect() as connection:
            rows = await store.list_expressions(
                connection,
                owner=window.owner,
                statuses=window.statuses,
                q=window.q,
                before=before,
                limit=missing,
                started=started,
            )
        memory = await memory_of(services, rows)
        for row in rows:
            if not is_parting or rendering.status_of(row, memory) in window.statuses:
                seen.append((row, memory))
            before = row.id
        is_more = len(rows) == missing
    shown = seen[: window.limit]
    return shown, reading.make_cursor(shown[-1][0].id.bytes) if len(seen) > window.limit else None


async def row_of(
    services: Services, id: UUID, owner: str | None, *, full: bool = False
) -> store.ExpressionRow:
    """The row of one expression. Raises: Problem 404."""
    async with services.engine.connect() as connection:
        row = await store.expression(connection, id, full=full)
    if row is None or (owner is not None and row.owner != owner):
        raise unknown()
    return row


async def memory_of(services: Services, rows: Sequence[store.ExpressionRow]) -> Memory:
    """What the leader's memory says of those that are not final."""
    still_open = [str(row.id) for row in rows if not row.is_final]
    if not still_open:
        return Memory()
    return await with_journalled(services, rows, await services.leading.memory(still_open))


async def with_journalled(services: Services, rows: Iterable[store.ExpressionRow], memory: Memory) -> Memory:
    """The same, and how far those are that run and are in nobody's memory: while a leader is missing or has
    just come, nobody's progress goes back. Of very large ones only the first are counted."""
    counted: list[UUID] = []
    tasks = 0
    for row in rows:
        if row.status == "running" and str(row.id) not in memory.progress:
            tasks += row.tasks
            if counted and tasks > COUNTED_MAX:
                break
            counted.append(row.id)
    if not counted:
        return memory
    async with services.engine.connect() as connection:
        return replace(memory, journalled=await store.count_journalled(connection, counted))


def unknown() -> Problem:
    """The same for what is not there and for what is somebody else's."""
    return Problem("not_found", "There is no expression with this id.")

"""Rows and what the leader knows beside them, as the resources that people see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from curta_server.resources import CUT, Expression, ExpressionError, Status, TaskCounts

if TYPE_CHECKING:
    from curta_server.leading import Memory
    from curta_server.store import Draft, ExpressionRow, Stored
    from curta_server.views import Progress

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

OTHERS_FIRST: Final = "others are first"


def moment(us: int | None) -> datetime | None:
    """Microseconds since 1970 as a time."""
    return None if us is None else _EPOCH + timedelta(microseconds=us)


def cut(name: str, text: str | None, truncated: list[str]) -> str | None:
    """The text cut to CUT characters; `name` is noted where something was lost."""
    if text is None or len(text) <= CUT:
        return text
    truncated.append(name)
    return text[:CUT]


def expression(row: ExpressionRow, memory: Memory, *, full: bool = False) -> Expression:
    """An expression as it stands: its row, and what the leader's memory says of it while it is open.

    With `full` nothing is cut; the row must then have been read in full.
    """
    truncated: list[str] = []
    if full:
        assert row.text is not None
        text, result, exact = row.text, row.result, row.exact
        message = row.error_message
    else:
        text = row.head
        if row.text_length > len(row.head):
            truncated.append("expression")
        result = cut("result", row.result, truncated)
        exact = cut("exact", row.exact, truncated)
        message = cut("error.message", row.error_message, truncated)
    progress = _progress(row, memory)
    status, started_at = status_of(row, memory), row.started_at
    if progress is not None:
        started_at = started_at or _started_at(row.created_at, progress)
    return Expression(
        id=str(row.id),
        client_id=row.client_id,
        owner=row.owner,
        expression=text,
        optimize=row.optimize,
        status=cast("Status", status),
        result=result,
        exact=exact,
        error=None
        if row.error_code is None
        else ExpressionError(row.error_code, message or "", row.error_task),
        waiting_for=None if row.is_final else _waiting_for(row.epoch == 0, status, progress, memory),
        created_at=row.created_at,
        started_at=started_at,
        finished_at=row.finished_at,
        tasks=_counts(row.tasks, memory.journalled.get(row.id, row.tasks_done), progress),
        eta_s=None if progress is None else progress.eta_s,
        truncated=truncated,
    )


def status_of(row: ExpressionRow, memory: Memory) -> str:
    """The row is a little behind: it says `running` with the first commit only."""
    progress = _progress(row, memory)
    return row.status if progress is None else progress.status


def _progress(row: ExpressionRow, memory: Memory) -> Progress | None:
    return None if row.is_final else memory.progress.get(str(row.id))


def stored(draft: Draft, stored: Stored, memory: Memory) -> Expression:
    """An expression that was stored just now: nothing of it needs to be read back."""
    # One that waits in the table waits behind others only where the leader said so: elsewhere it is on its
    # way to the leader.
    waits = stored.epoch == 0 and memory.is_here
    truncated: list[str] = []
    text = cut("expression", draft.text, truncated)
    assert text is not None
    is_final = draft.value is not None
    progress = None if is_final else memory.progress.get(str(draft.id))
    status = "done" if is_final else progress.status if progress is not None else "queued"
    return Expression(
        id=str(draft.id),
        client_id=draft.client_id,
        owner=draft.owner,
        expression=text,
        optimize=draft.optimize,
        status=cast("Status", status),
        result=cut("result", draft.result, truncated),
        exact=cut("exact", draft.exact, truncated),
        error=None,
        waiting_for=None if is_final else _waiting_for(waits, status, progress, memory),
        created_at=stored.created_at,
        started_at=_started_at(stored.created_at, progress),
        finished_at=stored.created_at if is_final else None,
        tasks=_counts(draft.tasks, 0, progress),
        eta_s=None if progress is None else progress.eta_s,
        truncated=truncated,
    )


def _started_at(created_at: datetime, progress: Progress | None) -> datetime | None:
    """When the leader saw it start; never before it was made, whatever the leader's measure of the clock
    says."""
    started_at = None if progress is None else moment(progress.started_at_us)
    return None if started_at is None else max(created_at, started_at)


def _counts(total: int, done: int, progress: Progress | None) -> TaskCounts:
    return (
        TaskCounts(total, done, 0) if progress is None else TaskCounts(total, progress.done, progress.running)
    )


def _waiting_for(waits: bool, status: str, progress: Progress | None, memory: Memory) -> str | None:
    if progress is not None:
        return progress.waiting_for
    if memory.away is not None:
        return memory.away
    # Held by a term but not in memory: it ends just now, or that term is over and the row is about to be
    # released.
    return OTHERS_FIRST if waits and status == "queued" else None

"""How expressions end: the final status in one statement with the last rows of the journal.

Called by the journal of a leader. One statement is one transaction and one round trip: somebody waits for
each end, and the row of a root is durable if and only if its expression is final.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from curta_server.store.fence import LEAD, check_lead
from curta_server.store.journal import AGAIN, STORED, JournalColumns, rows_given


@dataclass(frozen=True, slots=True)
class Final:
    """How an expression ended: `done` with value (a wire number), result and perhaps exact, or `failed` with
    an error. Times are microseconds since 1970 by the database's clock; `started_us` counts where no start is
    stored yet."""

    id: UUID
    status: str
    tasks_done: int
    finished_us: int
    started_us: int | None = None
    value: str | None = None
    result: str | None = None
    exact: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_task: str | None = None


_FINISHED = """finished AS (
        UPDATE expressions AS e
        SET status = d.status, tasks_done = d.tasks_done, value = d.value, result = d.result, exact = d.exact,
            error_code = d.error_code, error_message = d.error_message, error_task = d.error_task,
            finished_at = greatest(
                e.created_at, 'epoch'::timestamptz + d.finished_us * interval '1 microsecond'),
            started_at = coalesce(e.started_at, CASE WHEN d.started_us IS NOT NULL THEN greatest(
                e.created_at, 'epoch'::timestamptz + d.started_us * interval '1 microsecond') END)
        FROM lead, unnest(
            CAST(:ids AS uuid[]), CAST(:statuses AS text[]), CAST(:tasks_done AS integer[]),
            CAST(:ended_us AS bigint[]), CAST(:begun_us AS bigint[]),
            CAST(:numbers AS text[]), CAST(:results AS text[]),
            CAST(:exacts AS text[]), CAST(:error_codes AS text[]), CAST(:error_messages AS text[]),
            CAST(:error_tasks AS text[])
        ) AS d (id, status, tasks_done, finished_us, started_us, value, result, exact,
                error_code, error_message, error_task)
        WHERE e.id = d.id AND e.finished_at IS NULL
        RETURNING e.id
    )"""

_END, _END_AGAIN = (
    text(f"""
        WITH {LEAD}, {STORED.format(conflict=conflict)}, {_FINISHED}
        SELECT (SELECT count(*) FROM lead), ARRAY (SELECT id FROM finished)
    """)
    for conflict in ("", AGAIN)
)

_FINAL = text("""
    SELECT id, status FROM expressions WHERE id = ANY (CAST(:ids AS uuid[])) AND finished_at IS NOT NULL
""")


async def end_expressions(
    connection: AsyncConnection,
    epoch: int,
    finals: Sequence[Final],
    columns: JournalColumns | None = None,
    *,
    again: bool = False,
) -> set[UUID]:
    """Append rows as `append_journal` does, and set final statuses where there is none yet, both or neither;
    returns the ids whose status was set by this call.

    One that is not returned was cancelled, or ended by a try whose outcome was not known: `final_statuses`
    tells. Raises NotLeading, and stores nothing, where another term than `epoch` has begun.
    """
    found = await connection.execute(
        _END_AGAIN if again else _END,
        {
            "epoch": epoch,
            **rows_given(columns or JournalColumns()),
            "ids": [f.id for f in finals],
            "statuses": [f.status for f in finals],
            "tasks_done": [f.tasks_done for f in finals],
            "ended_us": [f.finished_us for f in finals],
            "begun_us": [f.started_us for f in finals],
            "numbers": [f.value for f in finals],
            "results": [f.result for f in finals],
            "exacts": [f.exact for f in finals],
            "error_codes": [f.error_code for f in finals],
            "error_messages": [f.error_message for f in finals],
            "error_tasks": [f.error_task for f in finals],
        },
    )
    leading, ids = found.one()
    check_lead(epoch, leading)
    return set(ids)


async def final_statuses(connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, str]:
    """Which of these are final, and how: after an update whose outcome is not known."""
    rows = await connection.execute(_FINAL, {"ids": list(ids)})
    return {row.id: row.status for row in rows}

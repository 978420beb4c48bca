"""The journal: one appended row for each finished task. The hottest statements of the whole system."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from curta_server.store.expressions import SHORT_CHARACTERS
from curta_server.store.fence import LEAD, check_lead


@dataclass(slots=True)
class JournalColumns:
    """Finished tasks as seven parallel lists, as the driver sends them: no object for each row.

    Ids are UUIDs in text; a value is a wire number, None a division by zero; times are microseconds since
    1970 UTC by the database's clock.
    """

    expression_ids: list[str] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    values: list[str | None] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    started_us: list[int] = field(default_factory=list)
    finished_us: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tasks)


@dataclass(frozen=True, slots=True)
class JournalRow:
    """A finished task with the name of its agent (None where the agent is forgotten)."""

    task: int
    value: str | None
    agent_id: UUID
    agent_name: str | None
    attempt: int
    started_at: datetime
    finished_at: datetime


STORED = """stored AS (
        INSERT INTO journal (expression_id, task, value, agent, attempt, started_at, finished_at)
        SELECT d.expression_id, d.task, d.value, d.agent, d.attempt,
               'epoch'::timestamptz + d.started_us * interval '1 microsecond',
               'epoch'::timestamptz + d.finished_us * interval '1 microsecond'
        FROM lead, unnest(
            CAST(CAST(:expression_ids AS text) AS uuid[]), CAST(CAST(:tasks AS text) AS integer[]),
            CAST(CAST(:values AS text) AS text[]), CAST(CAST(:agents AS text) AS uuid[]),
            CAST(CAST(:attempts AS text) AS bigint[]), CAST(CAST(:started_us AS text) AS bigint[]),
            CAST(CAST(:finished_us AS text) AS bigint[])
        ) AS d (expression_id, task, value, agent, attempt, started_us, finished_us)
        {conflict}
    )"""
"""The part of a `WITH` that appends, beside LEAD; `rows_given` are its parameters."""

AGAIN = "ON CONFLICT DO NOTHING"
"""What looks for a conflict first costs a fifth more: it is asked for where there may be one."""

_APPEND, _APPEND_AGAIN = (
    text(f"WITH {LEAD}, {STORED.format(conflict=conflict)} SELECT count(*) FROM lead")
    for conflict in ("", AGAIN)
)

_CHUNK = text("""
    SELECT array_agg(task), array_agg(value) FROM (
        SELECT task, value FROM journal
        WHERE expression_id = :expression_id AND task > :after ORDER BY task LIMIT :chunk
    ) AS chunk
""")

_ROWS = text(f"""
    SELECT j.task, left(j.value, {SHORT_CHARACTERS}), j.agent, a.name, j.attempt, j.started_at, j.finished_at
    FROM journal AS j LEFT JOIN agents AS a ON a.id = j.agent
    WHERE j.expression_id = :expression_id AND j.task = ANY (CAST(:tasks AS integer[]))
    ORDER BY j.task
""")


_TOOK = text("""
    SELECT count(*), coalesce(round(sum(extract(epoch FROM finished_at - started_at)) * 1000), 0)::bigint
    FROM journal WHERE expression_id = :expression_id
""")


_COUNTED = text("""
    SELECT expression_id, count(*) FROM journal
    WHERE expression_id = ANY (CAST(:ids AS uuid[])) GROUP BY expression_id
""")


async def append_journal(
    connection: AsyncConnection, epoch: int, columns: JournalColumns, *, again: bool = False
) -> None:
    """Append finished tasks in one statement.

    `again` says that some may have their rows already, by a try of which nobody knows what became of it: they
    keep them. Without it such a row is an error (`is_duplicate`), and nothing is stored.
    Raises NotLeading, and stores nothing, where another term than `epoch` has begun.
    """
    statement = _APPEND_AGAIN if again else _APPEND
    check_lead(epoch, await connection.scalar(statement, {"epoch": epoch, **rows_given(columns)}))


def rows_given(columns: JournalColumns) -> dict[str, str]:
    """The parameters of STORED."""
    return {
        "expression_ids": _texts(columns.expression_ids),
        "tasks": _integers(columns.tasks),
        "values": _texts(["NULL" if value is None else value for value in columns.values]),
        "agents": _texts(columns.agents),
        "attempts": _integers(columns.attempts),
        "started_us": _integers(columns.started_us),
        "finished_us": _integers(columns.finished_us),
    }


def _texts(values: Iterable[str]) -> str:
    """An array as PostgreSQL writes it: joining text costs half of what the driver takes to encode a list.

    For UUIDs and wire numbers only, which hold no comma, brace, quote or backslash.
    """
    return "{" + ",".join(values) + "}"


def _integers(values: Iterable[int]) -> str:
    return _texts(map(str, values))


async def journal_of(
    connection: AsyncConnection, expression_id: str | UUID, *, chunk: int = 10_000
) -> AsyncIterator[tuple[list[int], list[str | None]]]:
    """The finished tasks of an expression, by ascending task: chunks of (tasks, values), at most `chunk`
    long.

    Parallel lists rather than rows, for a recovery reads millions of them.
    """
    after = -1
    while True:
        parameters = {"expression_id": expression_id, "after": after, "chunk": chunk}
        tasks, values = (await connection.execute(_CHUNK, parameters)).one()
        if tasks is None:
            return
        yield tasks, values
        if len(tasks) < chunk:
            return
        after = tasks[-1]


async def journal_rows(
    connection: AsyncConnection, expression_id: str | UUID, tasks: Sequence[int]
) -> list[JournalRow]:
    """The rows of these tasks of an expression, by ascending task; tasks without one are left out. Values are
    cut to SHORT_CHARACTERS: whoever asks shows no more."""
    rows = await connection.execute(_ROWS, {"expression_id": expression_id, "tasks": list(tasks)})
    return [JournalRow(*row) for row in rows]


async def count_journalled(connection: AsyncConnection, expressions: Sequence[UUID]) -> dict[UUID, int]:
    """How many rows these expressions have; those without any are left out."""
    return {id: rows for id, rows in await connection.execute(_COUNTED, {"ids": list(expressions)})}


async def journal_took(connection: AsyncConnection, expression_id: str | UUID) -> tuple[int, int]:
    """How many rows an expression has, and how many milliseconds its tasks took, all together."""
    rows, took_ms = (await connection.execute(_TOOK, {"expression_id": expression_id})).one()
    return rows, took_ms

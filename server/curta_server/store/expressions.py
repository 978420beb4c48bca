"""Expressions as users see them: stored once, read, listed, cancelled.

Called by intake and by the REST routes of any orchestrator; what only a leader does is in `terms`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from curta_server.tables import HEAD_CHARACTERS

if TYPE_CHECKING:
    from curta_server.core.plan import Plan

SHORT_CHARACTERS = HEAD_CHARACTERS + 1
"""Results are cut to this where they are not wanted in full: one more than is shown, so that the cut can be
seen."""

INSERT_ROWS = 1_000
"""Of one statement: encoding more would hold the event loop for too long (10,000 took 80 ms)."""

OPEN_STATUSES = frozenset({"queued", "running"})
STATUSES = (*sorted(OPEN_STATUSES), "done", "failed", "cancelled")

_LAST_ID = UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class Draft:
    """A planned expression on its way into the table.

    `text` has no white space around it and no NUL; `durations` are milliseconds in plans' order. A bare
    number has no task and arrives with `value` (a wire number), `result` and perhaps `exact`: it is stored as
    done. `plan` is not stored (`plan_bytes` is): it goes on to the leader in the same process.
    """

    id: UUID
    owner: str
    client_id: str | None
    text: str
    optimize: bool
    plan: "Plan"
    plan_bytes: bytes
    tasks: int
    durations: tuple[int, int, int, int]
    value: str | None = None
    result: str | None = None
    exact: str | None = None


@dataclass(frozen=True, slots=True)
class ExpressionRow:
    """An expression without its plan. `text` is None, and `result` and `exact` have at most SHORT_CHARACTERS,
    where it was not asked for in full. `durations` are milliseconds; `epoch` is the term that holds it, 0
    none."""

    id: UUID
    owner: str
    client_id: str | None
    head: str
    text_length: int
    optimize: bool
    status: str
    tasks: int
    tasks_done: int
    durations: list[int]
    epoch: int
    error_code: str | None
    error_message: str | None
    error_task: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    text: str | None
    result: str | None
    exact: str | None

    @property
    def is_final(self) -> bool:
        return self.finished_at is not None


@dataclass(frozen=True, slots=True)
class Stored:
    """The draft is in the table: under `epoch`'s leader (this process), or waiting with 0."""

    id: UUID
    created_at: datetime
    epoch: int


@dataclass(frozen=True, slots=True)
class Reused:
    """The client's id was there already, with the same text: this is what became of it (in short)."""

    row: ExpressionRow


@dataclass(frozen=True, slots=True)
class Conflict:
    """The client's id stands for another text or another `optimize`."""

    id: UUID


Insertion = Stored | Reused | Conflict

Cancellation = Literal["cancelled", "already", "final", "unknown"]
"""Just now; it was before; it is done or failed; there is none of that id and owner."""

_COLUMNS = """e.id, e.owner, e.client_id, e.head, e.text_length, e.optimize, e.status, e.tasks, e.tasks_done,
    e.durations, e.epoch, e.error_code, e.error_message, e.error_task, e.created_at, e.started_at,
    e.finished_at"""
_SHORT = f"{_COLUMNS}, NULL, left(e.result, {SHORT_CHARACTERS}), left(e.exact, {SHORT_CHARACTERS})"
_FULL = f"{_COLUMNS}, e.text, e.result, e.exact"

# The term is checked, and held against take-over, by this very statement: see journal.py on FOR KEY SHARE. A
# draft of a term that is over is stored all the same and waits for the new leader.
_INSERT = text(f"""
    WITH lead AS MATERIALIZED (
        SELECT epoch FROM leadership
        WHERE id = 1 AND epoch > 0 AND epoch = ANY (CAST(:epochs AS bigint[])) FOR KEY SHARE
    )
    INSERT INTO expressions (id, owner, client_id, text, head, text_length, optimize, status, plan, tasks,
        durations, epoch, value, result, exact, created_at, finished_at)
    SELECT d.id, d.owner, d.client_id, d.text, left(d.text, {HEAD_CHARACTERS}), length(d.text), d.optimize,
        CASE WHEN d.value IS NULL THEN 'queued' ELSE 'done' END, d.plan, d.tasks,
        ARRAY[d.addition, d.subtraction, d.multiplication, d.division],
        CASE WHEN d.epoch > 0 AND d.value IS NULL
             THEN coalesce((SELECT epoch FROM lead WHERE lead.epoch = d.epoch), 0) ELSE 0 END,
        d.value, d.result, d.exact, statement_timestamp(),
        CASE WHEN d.value IS NOT NULL THEN statement_timestamp() END
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:owners AS text[]), CAST(:client_ids AS text[]), CAST(:texts AS text[]),
        CAST(:optimizes AS boolean[]), CAST(:plans AS bytea[]), CAST(:tasks AS integer[]),
        CAST(:additions AS bigint[]), CAST(:subtractions AS bigint[]), CAST(:multiplications AS bigint[]),
        CAST(:divisions AS bigint[]), CAST(:epochs AS bigint[]),
        CAST(:values AS text[]), CAST(:results AS text[]), CAST(:exacts AS text[])
    ) AS d (id, owner, client_id, text, optimize, plan, tasks,
            addition, subtraction, multiplication, division, epoch, value, result, exact)
    ON CONFLICT DO NOTHING
    RETURNING id, created_at, epoch
""")

_BY_IDS = text("SELECT id, created_at, epoch FROM expressions WHERE id = ANY (CAST(:ids AS uuid[]))")

_BY_CLIENT_IDS = text(f"""
    SELECT d.place, e.text = d.text AND e.optimize = d.optimize, {_SHORT}
    FROM unnest(CAST(:owners AS text[]), CAST(:client_ids AS text[]), CAST(:texts AS text[]),
                CAST(:optimizes AS boolean[]))
        WITH ORDINALITY AS d (owner, client_id, text, optimize, place)
    JOIN expressions AS e ON e.owner = d.owner AND e.client_id = d.client_id
""")

_ONE = {
    full: text(f"SELECT {_FULL if full else _SHORT} FROM expressions AS e WHERE e.id = :id")
    for full in (False, True)
}

_PAGE = f"SELECT {_SHORT} FROM expressions AS e"

_STARTED = "e.id = ANY (CAST(:started AS uuid[]))"
# OFFSET keeps the planner from looking for these few by any other condition.
_STARTED_PAGE = f"SELECT {_SHORT} FROM (SELECT * FROM expressions AS e WHERE {_STARTED} OFFSET 0) AS e"

_PLAN = text("SELECT text, plan FROM expressions WHERE id = :id")

_CANCEL = text("""
    UPDATE expressions SET status = 'cancelled', finished_at = clock_timestamp(),
        tasks_done = coalesce(
            CAST(:tasks_done AS integer), (SELECT count(*) FROM journal WHERE expression_id = :id)
        )
    WHERE id = :id AND finished_at IS NULL AND (CAST(:owner AS text) IS NULL OR owner = :owner)
    RETURNING id
""")

_STATUS = text("""
    SELECT status FROM expressions WHERE id = :id AND (CAST(:owner AS text) IS NULL OR owner = :owner)
""")

_COUNTS = text("""
    SELECT status, count(*) FROM expressions WHERE status IN ('queued', 'running') GROUP BY status
""")

_COUNT_OF = text("""
    SELECT count(*) FROM (
        SELECT FROM expressions WHERE owner = :owner AND status IN ('queued', 'running') LIMIT :most
    ) AS open
""")


async def insert_expressions(
    connection: AsyncConnection, drafts: Sequence[Draft], epochs: Sequence[int]
) -> list[Insertion]:
    """Store new expressions, each once for its owner's client id, and say for each draft what became of it.

    `epochs` says for each draft which term's leader will hold it in memory: more than 0 only in that leader's
    own process; where that term is over the draft waits in the table. More than INSERT_ROWS drafts take
    several statements, so the caller needs a transaction for them. Safe to repeat after an unknown
    outcome: a draft that is stored already is found by its id. Two of these never deadlock, for both insert
    in one order.
    """
    found: dict[int, Insertion] = {}
    missing = sorted(range(len(drafts)), key=lambda i: (drafts[i].owner, drafts[i].client_id or ""))
    while missing:
        # Of several with one client id the first is inserted, the others are read back beside it.
        first: dict[tuple[str, str] | int, int] = {}
        for i in missing:
            name = drafts[i].client_id
            first.setdefault(i if name is None else (drafts[i].owner, name), i)
        fresh = [i for i in first.values()]
        stored: dict[UUID, Stored] = {}
        for at in range(0, len(fresh), INSERT_ROWS):
            some = fresh[at : at + INSERT_ROWS]
            stored |= await _insert(connection, [drafts[i] for i in some], [epochs[i] for i in some])
        rest = [i for i in fresh if drafts[i].id not in stored]
        if rest:
            # What ON CONFLICT met may have been committed after our statement began: it is visible to the
            # next one.
            known = await connection.execute(_BY_IDS, {"ids": [drafts[i].id for i in rest]})
            stored |= {row.id: Stored(*row) for row in known}
        for i in fresh:
            if (done := stored.get(drafts[i].id)) is not None:
                found[i] = done
        missing = [i for i in missing if i not in found]
        named = [i for i in missing if drafts[i].client_id is not None]
        found.update(await _existing(connection, drafts, named))
        # What is left met a row that was deleted in between: insert it again.
        missing = [i for i in missing if i not in found]
    return [found[i] for i in range(len(drafts))]


async def _insert(
    connection: AsyncConnection, drafts: Sequence[Draft], epochs: Sequence[int]
) -> dict[UUID, Stored]:
    rows = await connection.execute(
        _INSERT,
        {
            "ids": [d.id for d in drafts],
            "owners": [d.owner for d in drafts],
            "client_ids": [d.client_id for d in drafts],
            "texts": [d.text for d in drafts],
            "optimizes": [d.optimize for d in drafts],
            "plans": [d.plan_bytes for d in drafts],
            "tasks": [d.tasks for d in drafts],
            "additions": [d.durations[0] for d in drafts],
            "subtractions": [d.durations[1] for d in drafts],
            "multiplications": [d.durations[2] for d in drafts],
            "divisions": [d.durations[3] for d in drafts],
            "epochs": list(epochs),
            "values": [d.value for d in drafts],
            "results": [d.result for d in drafts],
            "exacts": [d.exact for d in drafts],
        },
    )
    return {row.id: Stored(*row) for row in rows}


async def _existing(
    connection: AsyncConnection, drafts: Sequence[Draft], places: Sequence[int]
) -> dict[int, Insertion]:
    if not places:
        return {}
    rows = await connection.execute(
        _BY_CLIENT_IDS,
        {
            "owners": [drafts[i].owner for i in places],
            "client_ids": [drafts[i].client_id for i in places],
            "texts": [drafts[i].text for i in places],
            "optimizes": [drafts[i].optimize for i in places],
        },
    )
    found: dict[int, Insertion] = {}
    for place, is_same, *columns in rows:
        row = ExpressionRow(*columns)
        found[places[place - 1]] = Reused(row) if is_same else Conflict(row.id)
    return found


async def count_known(connection: AsyncConnection, drafts: Sequence[Draft]) -> int:
    """How many of the drafts are there already, under their owner's id."""
    named = [i for i, draft in enumerate(drafts) if draft.client_id is not None]
    return len(await _existing(connection, drafts, named))


async def expression(connection: AsyncConnection, id: UUID, *, full: bool = False) -> ExpressionRow | None:
    """The expression, in full with its whole text and result; None where there is none."""
    row = (await connection.execute(_ONE[full], {"id": id})).one_or_none()
    return None if row is None else ExpressionRow(*row)


async def plan_of(connection: AsyncConnection, id: UUID) -> tuple[str, bytes] | None:
    """The text and the encoded plan of an expression: what Plan.decode takes."""
    row = (await connection.execute(_PLAN, {"id": id})).one_or_none()
    return None if row is None else (row.text, row.plan)


async def list_expressions(
    connection: AsyncConnection,
    *,
    owner: str | None = None,
    statuses: Sequence[str] = (),
    q: str = "",
    before: UUID | None = None,
    limit: int = 50,
    started: Sequence[UUID] = (),
) -> list[ExpressionRow]:
    """Newest first, in short: of one owner or of all, of these statuses or of all, whose head contains `q` in
    either case, older than `before` (the last id of the page before). Where statuses are asked for, those
    `started` that are still `queued` in the table count as running."""
    given = {
        "owner": owner, "before": before or _LAST_ID, "q": q, "limit": limit, "started": list(started),
    }  # fmt: skip
    contains = " AND position(lower(:q) IN lower(e.head)) > 0" if q else ""
    if owner is None and not statuses:
        statement = f"{_PAGE} WHERE e.id < :before{contains} ORDER BY e.id DESC LIMIT :limit"
    else:
        # One walk for each status, down the only index with its order: the planner is not to guess that
        # walking the primary key soon meets what is rare.
        key = ["e.status"] if owner is None else ["e.owner", "e.status"]
        descending = ", ".join(f"{column} DESC" for column in (*key, "e.id"))
        walks = []
        for status in [status for status in STATUSES if status in (statuses or STATUSES)]:
            given[status] = status
            values = f":{status}" if owner is None else f":owner, :{status}"
            others = f"{contains} AND NOT {_STARTED}" if started and status == "queued" else contains
            walks.append(
                f"({_PAGE} WHERE ({', '.join(key)}, e.id) < ({values}, :before)"
                f" AND ({', '.join(key)}) >= ({values}){others} ORDER BY {descending} LIMIT :limit)"
            )
        if started and "running" in statuses:
            owned = "" if owner is None else " AND e.owner = :owner"
            walks.append(
                f"({_STARTED_PAGE} WHERE e.status = 'queued' AND e.id < :before{owned}{contains}"
                " ORDER BY e.id DESC LIMIT :limit)"
            )
        statement = f"SELECT * FROM ({' UNION ALL '.join(walks)}) AS page ORDER BY id DESC LIMIT :limit"
    used = {name: value for name, value in given.items() if f":{name}" in statement}
    return [ExpressionRow(*row) for row in await connection.execute(text(statement), used)]


async def cancel_expression(
    connection: AsyncConnection, id: UUID, *, owner: str | None = None, tasks_done: int | None = None
) -> Cancellation:
    """Set the final status `cancelled` where there is none yet; with `owner`, only of that owner's.

    `tasks_done` is what the leader knows of it, if the caller does; otherwise what the journal says. The
    leader learns of it by a notice or its poll.
    """
    found = await connection.scalar(_CANCEL, {"id": id, "owner": owner, "tasks_done": tasks_done})
    if found is not None:
        return "cancelled"
    status = await connection.scalar(_STATUS, {"id": id, "owner": owner})
    if status is None:
        return "unknown"
    return "already" if status == "cancelled" else "final"


async def count_open(connection: AsyncConnection) -> dict[str, int]:
    """How many expressions are queued and how many run, in memory or not: for metrics."""
    rows = await connection.execute(_COUNTS)
    return {"queued": 0, "running": 0} | {status: count for status, count in rows}


async def count_open_of(connection: AsyncConnection, owner: str, most: int) -> int:
    """How many of the owner's expressions are open; at most `most` are counted."""
    found = await connection.scalar(_COUNT_OF, {"owner": owner, "most": most})
    assert isinstance(found, int)
    return found

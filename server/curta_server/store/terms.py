"""What only the leader does to expressions before they end: claim, start, give back.

Called by the dispatcher and the journal of a leader. Every write carries the term it belongs to; one of a
term that is over raises NotLeading and changes nothing (`fence` says how).
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from curta_server.store.fence import LEAD, check_lead


@dataclass(frozen=True, slots=True)
class ClaimedRow:
    """An expression that the leader is to hold from now on. `started_us` is None where no task was handed
    out."""

    id: UUID
    owner: str
    text: str
    plan: bytes
    tasks: int
    durations: tuple[int, int, int, int]
    status: str
    started_us: int | None
    optimize: bool = True


@dataclass(frozen=True, slots=True)
class Waiting:
    """An expression that waits in the table, as `choose` sees it."""

    id: UUID
    owner: str
    tasks: int


_RELEASE = text(f"""
    WITH {LEAD}, released AS (
        UPDATE expressions SET epoch = 0 FROM lead
        WHERE expressions.finished_at IS NULL AND expressions.epoch <> 0 AND expressions.epoch <> :epoch
    )
    SELECT count(*) FROM lead
""")

_RELEASE_SOME = text(f"""
    WITH {LEAD}, released AS (
        UPDATE expressions SET epoch = 0 FROM lead
        WHERE expressions.id = ANY (CAST(:ids AS uuid[])) AND expressions.finished_at IS NULL
          AND expressions.epoch = :epoch
        RETURNING id
    )
    SELECT (SELECT count(*) FROM lead), ARRAY (SELECT id FROM released)
""")

_RELEASE_STRAYS = text(f"""
    WITH {LEAD}, released AS (
        UPDATE expressions SET epoch = 0 FROM lead
        WHERE expressions.finished_at IS NULL AND expressions.epoch = :epoch
          AND expressions.id <> ALL (CAST(:held AS uuid[]))
        RETURNING id
    )
    SELECT (SELECT count(*) FROM lead), (SELECT count(*) FROM released)
""")

# What waits is looked for in an order that only its own partial index has. Ordered by id, the planner may
# believe that walking the primary key soon meets what is wanted, and then reads a million rows of somebody
# else: its statistics cannot know who waits behind whom.
_INTERRUPTED = text("""
    SELECT id, owner, tasks FROM expressions
    WHERE finished_at IS NULL AND epoch = 0 AND status = 'running' ORDER BY started_at, id LIMIT :limit
""")

# Each owner once, by leaps through the index: an owner with a million waiting costs as much as one with a
# single one.
_OWNERS = text("""
    WITH RECURSIVE owners AS (
        (SELECT owner FROM expressions WHERE finished_at IS NULL AND epoch = 0
         ORDER BY owner, created_at LIMIT 1)
        UNION ALL
        SELECT (SELECT e.owner FROM expressions AS e
                WHERE e.finished_at IS NULL AND e.epoch = 0 AND e.owner > owners.owner
                ORDER BY e.owner, e.created_at LIMIT 1)
        FROM owners WHERE owners.owner IS NOT NULL
    )
    SELECT owner FROM owners WHERE owner IS NOT NULL
""")

_OLDEST = text("""
    SELECT e.id, e.owner, e.tasks
    FROM unnest(CAST(:owners AS text[])) AS o (owner)
    CROSS JOIN LATERAL (
        SELECT id, owner, tasks FROM expressions
        WHERE owner = o.owner AND finished_at IS NULL AND epoch = 0 AND status = 'queued'
        ORDER BY created_at, id LIMIT :each
    ) AS e
""")

# Joined by the id alone: beside the condition the planner might take the index of all that waits.
_CLAIM = text(f"""
    WITH {LEAD}, chosen AS MATERIALIZED (
        SELECT found.id, found.finished_at IS NULL AND found.epoch = 0 AS waits
        FROM unnest(CAST(:ids AS uuid[])) AS wanted (id) JOIN expressions AS found ON found.id = wanted.id
        FOR UPDATE OF found SKIP LOCKED
    )
    UPDATE expressions AS e SET epoch = :epoch FROM lead, chosen WHERE e.id = chosen.id AND chosen.waits
    RETURNING e.id, e.owner, e.text, e.plan, e.tasks, e.durations, e.status, e.optimize,
        CAST(extract(epoch FROM e.started_at) * 1000000 AS bigint) AS started_us
""")

_IS_LEADING = text("SELECT epoch FROM leadership WHERE id = 1 AND epoch = :epoch")

_HOLD = text("SELECT epoch FROM leadership WHERE id = 1 AND epoch = :epoch FOR KEY SHARE")

# `created_at` is the database's own word; the other times are the leader's measure of its clock, which may be
# a few milliseconds behind. Nothing starts or ends before it was made.
_MARK_RUNNING = text(f"""
    WITH {LEAD}, marked AS (
        UPDATE expressions AS e
        SET status = 'running', started_at = greatest(
            e.created_at, 'epoch'::timestamptz + d.started_us * interval '1 microsecond')
        FROM lead, unnest(CAST(:ids AS uuid[]), CAST(:started_us AS bigint[])) AS d (id, started_us)
        WHERE e.id = d.id AND e.finished_at IS NULL AND e.status = 'queued'
    )
    SELECT count(*) FROM lead
""")

_CANCELLED = text("""
    SELECT id FROM expressions
    WHERE finished_at >= 'epoch'::timestamptz + :since_us * interval '1 microsecond' AND status = 'cancelled'
""")

# Rows of a journal are numbered by the plan that they were computed by.
_REPLACE_PLAN = text(f"""
    WITH {LEAD}, replaced AS (
        UPDATE expressions AS e SET plan = :plan, tasks = :tasks FROM lead
        WHERE e.id = :id AND e.finished_at IS NULL AND e.status = 'queued'
          AND NOT EXISTS (SELECT FROM journal AS j WHERE j.expression_id = e.id)
        RETURNING e.id
    )
    SELECT (SELECT count(*) FROM lead), (SELECT count(*) FROM replaced)
""")

_OPEN = text("""
    SELECT id FROM expressions WHERE id = ANY (CAST(:ids AS uuid[])) AND finished_at IS NULL
""")

# Not EXISTS, which forgets the order and may read the whole table.
_ANY_WAITING = text("""
    SELECT count(*) FROM (
        SELECT FROM expressions WHERE finished_at IS NULL AND epoch = 0 ORDER BY owner, created_at LIMIT 1
    ) AS waiting
""")


async def hold_term(connection: AsyncConnection, epoch: int) -> None:
    """Keep the next term from beginning before this transaction ends: its leader reads what is written here.
    Raises NotLeading."""
    check_lead(epoch, await connection.scalar(_HOLD, {"epoch": epoch}))


async def release_expressions(connection: AsyncConnection, epoch: int) -> None:
    """At the start of a term: whatever earlier terms held waits in the table again. Raises NotLeading."""
    check_lead(epoch, await connection.scalar(_RELEASE, {"epoch": epoch}))


async def return_expressions(connection: AsyncConnection, epoch: int, ids: Iterable[UUID]) -> list[UUID]:
    """Those of `ids` that this term holds in the table wait there again; says which. Raises NotLeading."""
    leading, returned = (await connection.execute(_RELEASE_SOME, {"epoch": epoch, "ids": list(ids)})).one()
    check_lead(epoch, leading)
    return list(returned)


async def return_strays(connection: AsyncConnection, epoch: int, held: Iterable[UUID]) -> int:
    """After a claim whose outcome is not known: what this term holds in the table but not in memory waits
    again; returns how many. Raises NotLeading."""
    leading, count = (await connection.execute(_RELEASE_STRAYS, {"epoch": epoch, "held": list(held)})).one()
    check_lead(epoch, leading)
    return int(count)


async def claim_expressions(
    connection: AsyncConnection,
    epoch: int,
    *,
    tasks_budget: int,
    expressions_budget: int,
    loaded_by_owner: Mapping[str, int],
    reserved_tasks: int = 0,
    reserved_expressions: int = 0,
) -> list[ClaimedRow]:
    """Take waiting expressions for the leader of `epoch`: those that ran before the others, then as `choose`
    says.

    At most `expressions_budget` of them with `tasks_budget` tasks together, of which the reserved ones are
    for users who have nothing loaded; `loaded_by_owner` counts the tasks that the leader holds already.
    Raises NotLeading.
    """
    if expressions_budget <= 0:
        return []
    interrupted = await connection.execute(_INTERRUPTED, {"limit": expressions_budget})
    ran = [Waiting(*row) for row in interrupted]
    owners = list((await connection.execute(_OWNERS)).scalars())
    queued: list[Waiting] = []
    if owners and len(ran) < expressions_budget:
        # Enough of each for a fair share; who waits alone gets the whole budget, and the next claim finds the
        # rest.
        unreserved = expressions_budget - reserved_expressions
        each = max(1, min(unreserved, 4 * unreserved // len(owners)))
        oldest = await connection.execute(_OLDEST, {"owners": owners, "each": each})
        queued = [Waiting(*row) for row in oldest]
    ids = choose(
        ran,
        queued,
        tasks_budget,
        expressions_budget,
        loaded_by_owner,
        reserved_tasks=reserved_tasks,
        reserved_expressions=reserved_expressions,
    )
    if not ids:
        return []
    found = (await connection.execute(_CLAIM, {"epoch": epoch, "ids": ids})).all()
    if not found:
        # Either all were cancelled just now, or another term has begun.
        check_lead(epoch, await connection.scalar(_IS_LEADING, {"epoch": epoch}))
    rows = {
        row.id: ClaimedRow(
            row.id,
            row.owner,
            row.text,
            row.plan,
            row.tasks,
            (row.durations[0], row.durations[1], row.durations[2], row.durations[3]),
            row.status,
            row.started_us,
            row.optimize,
        )
        for row in found
    }
    return [rows[id] for id in ids if id in rows]


def choose(
    ran: Sequence[Waiting],
    queued: Sequence[Waiting],
    tasks_budget: int,
    expressions_budget: int,
    loaded_by_owner: Mapping[str, int],
    *,
    reserved_tasks: int = 0,
    reserved_expressions: int = 0,
) -> list[UUID]:
    """Which waiting expressions to load, in order: those that ran, then always the oldest of the user who has
    the fewest tasks loaded.

    `ran` and each user's part of `queued` are sorted, the oldest first. A user whose oldest does not fit
    waits, and while one waits nobody is loaded beyond half of all there is room for, lest he wait for ever.
    The reserved part of the budgets is for users who have nothing loaded, one expression each: who fills the
    memory for days must not keep a newcomer out of it. One expression is taken whatever its size where
    nothing else is loaded.
    """
    loaded = dict(loaded_by_owner)
    half = (sum(loaded.values()) + tasks_budget) // 2
    left = tasks_budget
    is_empty = not any(loaded.values())
    chosen: list[UUID] = []
    waiting: set[str] = set()

    def take(one: Waiting) -> bool:
        nonlocal left, is_empty
        held = loaded.get(one.owner, 0)
        is_greedy = bool(waiting) and held + one.tasks > half
        room = left
        if one.owner in loaded:
            room -= reserved_tasks
            is_greedy = is_greedy or expressions_budget - len(chosen) <= reserved_expressions
        if (one.tasks > room or is_greedy) and not is_empty:
            waiting.add(one.owner)
            return False
        loaded[one.owner] = held + one.tasks
        left -= one.tasks
        is_empty = False
        chosen.append(one.id)
        return True

    for one in ran:
        if len(chosen) == expressions_budget:
            return chosen
        if one.owner not in waiting:
            take(one)
    by_owner: dict[str, list[Waiting]] = {}
    for one in reversed(queued):
        by_owner.setdefault(one.owner, []).append(one)
    turns = [
        (loaded.get(owner, 0), own[-1].id, owner) for owner, own in by_owner.items() if owner not in waiting
    ]
    heapq.heapify(turns)
    while turns and len(chosen) < expressions_budget:
        _, _, owner = heapq.heappop(turns)
        if take(by_owner[owner].pop()) and by_owner[owner]:
            heapq.heappush(turns, (loaded[owner], by_owner[owner][-1].id, owner))
    return chosen


async def replace_plan(connection: AsyncConnection, epoch: int, id: UUID, plan: bytes, tasks: int) -> bool:
    """Store another plan for an expression of which nothing was computed; whether it was one. Raises
    NotLeading."""
    given = {"epoch": epoch, "id": id, "plan": plan, "tasks": tasks}
    leading, replaced = (await connection.execute(_REPLACE_PLAN, given)).one()
    check_lead(epoch, leading)
    return bool(replaced)


async def mark_running(
    connection: AsyncConnection, epoch: int, ids: Sequence[UUID], started_us: Sequence[int]
) -> None:
    """The first tasks of these were handed out, at these times; what is not `queued` stays as it is. Raises
    NotLeading."""
    found = await connection.scalar(
        _MARK_RUNNING, {"epoch": epoch, "ids": list(ids), "started_us": list(started_us)}
    )
    check_lead(epoch, found)


async def open_expressions(connection: AsyncConnection, ids: Iterable[UUID]) -> set[UUID]:
    """Which of these are there and not final."""
    return set((await connection.execute(_OPEN, {"ids": list(ids)})).scalars())


async def any_waiting(connection: AsyncConnection) -> bool:
    """Whether an open expression is held by nobody."""
    return bool(await connection.scalar(_ANY_WAITING))


async def cancelled_since(connection: AsyncConnection, since_us: int) -> set[UUID]:
    """What was cancelled since then (microseconds since 1970 by the database's clock), for the poll behind
    the notices. Times are those of the statements, not of their commits: overlap by some seconds."""
    return set((await connection.execute(_CANCELLED, {"since_us": since_us})).scalars())

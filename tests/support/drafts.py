"""Drafts and rows for tests of the store."""

import itertools
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from curta_server.core.expression import parse
from curta_server.core.plan import build
from curta_server.intake import new_id

DURATIONS = (1000, 1000, 2000, 2000)
AGENT = "0198a3a0-0000-7000-8000-0000000000aa"

_numbers = itertools.count(1)


def draft(
    expression: str | None = None,
    *,
    owner: str = "ann",
    client_id: str | None = None,
    id: UUID | None = None,
    optimize: bool = True,
    tasks: int | None = None,
    value: str | None = None,
) -> store.Draft:
    """A planned expression; without a text one that no other draft has. `tasks` pretends to another size."""
    expression = f"1+{next(_numbers)}" if expression is None else expression
    plan = build(parse(expression), DURATIONS, optimize=optimize)
    return store.Draft(
        id=id or new_id(),
        owner=owner,
        client_id=client_id,
        text=expression,
        optimize=optimize,
        plan=plan,
        plan_bytes=plan.encode(),
        tasks=len(plan) if tasks is None else tasks,
        durations=DURATIONS,
        value=value,
        result=value,
    )


async def insert(engine: AsyncEngine, *drafts: store.Draft, epoch: int = 0) -> list[store.Insertion]:
    async with engine.begin() as connection:
        return await store.insert_expressions(connection, drafts, [epoch] * len(drafts))


async def begin_term(engine: AsyncEngine, epoch: int) -> None:
    """As a take-over does it, without a leader."""
    async with engine.begin() as connection:
        await connection.execute(text("SELECT FROM leadership FOR UPDATE"))
        await connection.execute(text("UPDATE leadership SET epoch = :epoch"), {"epoch": epoch})


async def end(engine: AsyncEngine, id: UUID, *, days_ago: float) -> None:
    """Have it done, so long ago."""
    moment = datetime.now(UTC) - timedelta(days=days_ago)
    statement = text("UPDATE expressions SET status = 'done', finished_at = :moment WHERE id = :id")
    async with engine.begin() as connection:
        await connection.execute(statement, {"moment": moment, "id": id})


def rows(id: UUID, tasks: range, *, value: str | None = "7") -> store.JournalColumns:
    """Journal rows of an expression."""
    count = len(tasks)
    return store.JournalColumns(
        expression_ids=[str(id)] * count,
        tasks=list(tasks),
        values=[value] * count,
        agents=[AGENT] * count,
        attempts=[1 << 20] * count,
        started_us=[1_700_000_000_123_456] * count,
        finished_us=[1_700_000_001_654_321] * count,
    )


async def scalar(engine: AsyncEngine, statement: str) -> object:
    async with engine.connect() as connection:
        return await connection.scalar(text(statement))


def old_id(*, days_ago: float) -> UUID:
    """An id as it was made so long ago."""
    moment = datetime.now(UTC) - timedelta(days=days_ago)
    return UUID(int=round(moment.timestamp() * 1000) << 80 | 7 << 76 | uuid4().int & (1 << 62) - 1 | 2 << 62)

"""What is old goes; what is open stays."""

from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import prune, store
from tests.support.drafts import begin_term, draft, end, insert, old_id, rows, scalar
from tests.support.postgres import on_every_postgres

pytestmark = on_every_postgres


async def expression_with_journal(
    engine: AsyncEngine, *, ended_days_ago: float | None, count: int = 10
) -> UUID:
    id = old_id(days_ago=40)
    await insert(engine, draft(id=id))
    async with engine.begin() as connection:
        await store.append_journal(connection, 1, rows(id, range(count)))
    if ended_days_ago is not None:
        await end(engine, id, days_ago=ended_days_ago)
    return id


async def kept(engine: AsyncEngine, id: UUID) -> tuple[bool, int]:
    return (
        bool(await scalar(engine, f"SELECT count(*) FROM expressions WHERE id = '{id}'")),
        int(str(await scalar(engine, f"SELECT count(*) FROM journal WHERE expression_id = '{id}'"))),
    )


async def test_old_journals_go_and_their_expressions_stay(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    old = await expression_with_journal(engine, ended_days_ago=8)
    young = await expression_with_journal(engine, ended_days_ago=6)
    running = await expression_with_journal(engine, ended_days_ago=None)
    assert await prune.prune(engine, journal_days=7) == prune.Pruned(0, 10)
    assert await kept(engine, old) == (True, 0)
    assert await kept(engine, young) == (True, 10)
    assert await kept(engine, running) == (True, 10)


async def test_old_expressions_go_with_all_that_is_theirs(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    old = await expression_with_journal(engine, ended_days_ago=31)
    young = await expression_with_journal(engine, ended_days_ago=29)
    running = await expression_with_journal(engine, ended_days_ago=None)
    assert await prune.prune(engine, days=30) == prune.Pruned(1, 10)
    assert await kept(engine, old) == (False, 0)
    assert await kept(engine, young) == (True, 10)
    assert await kept(engine, running) == (True, 10)


async def test_much_goes_in_small_batches(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "BATCH_ROWS", 7)
    monkeypatch.setattr(prune, "PAUSE_S", 0)
    await begin_term(engine, 1)
    ids = [await expression_with_journal(engine, ended_days_ago=50, count=20) for _ in range(3)]
    seen: list[prune.Pruned] = []
    assert await prune.prune(engine, journal_days=7, days=40, on_batch=seen.append) == prune.Pruned(3, 60)
    assert len(seen) >= 60 // 7 and seen[-1] == prune.Pruned(3, 60)
    for id in ids:
        assert await kept(engine, id) == (False, 0)


async def test_rows_whose_expression_is_gone_go_too(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    async with engine.begin() as connection:
        await store.append_journal(connection, 1, rows(old_id(days_ago=20), range(3)))
        await store.append_journal(connection, 1, rows(old_id(days_ago=0), range(3)))
    assert await prune.prune(engine, journal_days=7) == prune.Pruned(0, 3)


async def test_nothing_goes_where_nothing_is_asked_for(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    await expression_with_journal(engine, ended_days_ago=1000)
    assert await prune.prune(engine) == prune.Pruned(0, 0)

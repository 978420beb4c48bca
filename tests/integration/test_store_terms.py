"""What only a leader does: the journal, claims, ends; and that a term that is over does nothing."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from curta_server.errors import NotLeading
from tests.support.drafts import AGENT, begin_term, draft, insert, rows, scalar
from tests.support.postgres import on_every_postgres

pytestmark = on_every_postgres


def final(id: UUID, **given: object) -> store.Final:
    values = {
        "status": "done",
        "tasks_done": 1,
        "finished_us": 4_100_000_002_000_001,
        "value": "4",
        "result": "4",
    }
    return store.Final(id=id, **{**values, **given})  # type: ignore[arg-type]


async def claim(
    engine: AsyncEngine, epoch: int, *, tasks: int = 1000, expressions: int = 100, **loaded: int
) -> list[store.ClaimedRow]:
    async with engine.begin() as connection:
        return await store.claim_expressions(
            connection,
            epoch,
            tasks_budget=tasks,
            expressions_budget=expressions,
            loaded_by_owner=loaded,
        )


async def test_the_journal_keeps_the_first_row_of_a_task_to_the_microsecond(engine: AsyncEngine) -> None:
    await begin_term(engine, 3)
    id = uuid4()
    async with engine.begin() as connection:
        await store.append_journal(connection, 3, rows(id, range(5)))
        await store.append_journal(connection, 3, rows(id, range(3, 8), value=None), again=True)
        found = await store.journal_rows(connection, id, [0, 4, 7, 99])
    assert [(row.task, row.value, str(row.agent_id), row.agent_name) for row in found] == [
        (0, "7", AGENT, None),
        (4, "7", AGENT, None),
        (7, None, AGENT, None),
    ]
    assert found[0].started_at.microsecond == 123_456 and found[0].finished_at.microsecond == 654_321


async def test_a_row_that_nobody_expects_is_an_error_that_says_so_and_stores_nothing(
    engine: AsyncEngine,
) -> None:
    await begin_term(engine, 3)
    id = uuid4()
    async with engine.begin() as connection:
        await store.append_journal(connection, 3, rows(id, range(5)))
    with pytest.raises(IntegrityError) as error:
        async with engine.begin() as connection:
            await store.append_journal(connection, 3, rows(id, range(4, 8)))
    assert store.is_duplicate(error.value) and not store.is_outage(error.value)
    async with engine.begin() as connection:
        assert [row.task for row in await store.journal_rows(connection, id, range(8))] == list(range(5))


async def test_the_journal_is_read_back_in_chunks_and_in_order(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    id = uuid4()
    async with engine.begin() as connection:
        for begin in (40, 0, 20):
            await store.append_journal(connection, 1, rows(id, range(begin, begin + 20)))
        await store.append_journal(connection, 1, rows(uuid4(), range(5)))
        for chunk in (7, 60, 1000):
            parts = [part async for part in store.journal_of(connection, id, chunk=chunk)]
            assert [task for tasks, _ in parts for task in tasks] == list(range(60))
            assert {value for _, values in parts for value in values} == {"7"}
        assert [part async for part in store.journal_of(connection, uuid4())] == []


async def test_a_term_that_is_over_writes_nothing(engine: AsyncEngine) -> None:
    await begin_term(engine, 4)
    await insert(engine, sent := draft())
    for write in (
        lambda connection: store.append_journal(connection, 3, rows(sent.id, range(2))),
        lambda connection: store.end_expressions(connection, 3, [final(sent.id)]),
        lambda connection: store.mark_running(connection, 3, [sent.id], [1]),
        lambda connection: store.release_expressions(connection, 3),
        lambda connection: store.return_expressions(connection, 3, [sent.id]),
        lambda connection: store.return_strays(connection, 3, []),
        lambda connection: store.claim_expressions(
            connection, 3, tasks_budget=9, expressions_budget=9, loaded_by_owner={}
        ),
    ):
        with pytest.raises(NotLeading):
            async with engine.begin() as connection:
                await write(connection)
    assert await scalar(engine, "SELECT count(*) FROM journal") == 0
    assert await scalar(engine, "SELECT status || epoch FROM expressions") == "queued0"


async def test_a_take_over_waits_for_a_write_that_is_under_way_and_stops_the_next(
    engine: AsyncEngine,
) -> None:
    await begin_term(engine, 1)
    id = uuid4()
    async with engine.connect() as old:
        await old.begin()
        await store.append_journal(old, 1, rows(id, range(1)))
        take_over = asyncio.create_task(begin_term(engine, 2))
        while not await scalar(
            engine, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        ):
            assert not take_over.done()
        await old.commit()
        await take_over
        with pytest.raises(NotLeading):
            await store.append_journal(old, 1, rows(id, range(1, 2)))


async def test_a_write_that_meets_a_take_over_waits_for_it_and_finds_its_term_over(
    engine: AsyncEngine,
) -> None:
    await begin_term(engine, 1)

    async def write() -> None:
        async with engine.begin() as connection:
            await store.append_journal(connection, 1, rows(uuid4(), range(3)))

    async with engine.connect() as new:
        await new.begin()
        await new.execute(text("SELECT FROM leadership FOR UPDATE"))
        await new.execute(text("UPDATE leadership SET epoch = 2"))
        writing = asyncio.create_task(write())
        while not await scalar(
            engine, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        ):
            assert not writing.done()
        await new.commit()
    with pytest.raises(NotLeading):
        await writing
    assert await scalar(engine, "SELECT count(*) FROM journal") == 0


async def test_a_beat_does_not_wait_for_writes(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    async with engine.connect() as writing, engine.begin() as beating:
        await store.append_journal(writing, 1, rows(uuid4(), range(1)))
        await beating.execute(text("SET LOCAL lock_timeout = 100"))
        await beating.execute(text("UPDATE leadership SET beat = clock_timestamp()"))


async def test_ends_are_set_once_with_all_that_belongs_to_them(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    done, failed, cancelled = draft(), draft(), draft()
    await insert(engine, done, failed, cancelled)
    async with engine.begin() as connection:
        await store.cancel_expression(connection, cancelled.id)
        await store.mark_running(connection, 1, [failed.id, cancelled.id], [4_100_000_000_000_000] * 2)
        ends = [
            final(done.id, value="1/3", result="0.3", exact="1/3", started_us=4_100_000_001_000_000),
            final(
                failed.id,
                status="failed",
                value=None,
                result=None,
                error_code="division_by_zero",
                error_message="Division by zero.",
                error_task=f"{failed.id}.0",
                started_us=5,
            ),
            final(cancelled.id),
        ]
        assert await store.end_expressions(connection, 1, ends) == {done.id, failed.id}
        assert await store.end_expressions(connection, 1, ends) == set()
        found = {id: await store.expression(connection, id) for id in (done.id, failed.id, cancelled.id)}
    row = found[done.id]
    assert row is not None and (row.status, row.result, row.exact, row.tasks_done) == (
        "done",
        "0.3",
        "1/3",
        1,
    )
    assert row.started_at is not None and row.started_at.timestamp() == 4_100_000_001
    assert row.finished_at is not None and row.finished_at.microsecond == 1
    row = found[failed.id]
    assert row is not None and (row.status, row.error_code) == ("failed", "division_by_zero")
    assert row.started_at is not None and row.started_at.timestamp() == 4_100_000_000
    row = found[cancelled.id]
    assert row is not None and (row.status, row.result, row.started_at) == ("cancelled", None, None)


async def test_an_end_and_its_rows_are_one(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    await insert(engine, one := draft())
    id = one.id
    single = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def found() -> tuple[object, object]:
        return (
            await scalar(engine, f"SELECT status FROM expressions WHERE id = '{id}'"),
            await scalar(engine, f"SELECT count(*) FROM journal WHERE expression_id = '{id}'"),
        )

    async with engine.begin() as connection:
        await store.append_journal(connection, 1, rows(id, range(2)))
    with pytest.raises(IntegrityError):
        async with single.connect() as connection:
            await store.end_expressions(connection, 1, [final(id)], rows(id, range(1, 4)))
    assert await found() == ("queued", 2)
    with pytest.raises(NotLeading):
        async with single.connect() as connection:
            await store.end_expressions(connection, 2, [final(id)], rows(id, range(2, 4)))
    assert await found() == ("queued", 2)
    async with single.connect() as connection:
        ended = await store.end_expressions(connection, 1, [final(id)], rows(id, range(1, 4)), again=True)
    assert (ended, await found()) == ({id}, ("done", 4))


async def test_nothing_starts_or_ends_before_it_was_made(engine: AsyncEngine) -> None:
    """The leader's measure of the database's clock may be a little behind."""
    await begin_term(engine, 1)
    marked, ended, never = draft(), draft(), draft()
    await insert(engine, marked, ended, never)
    async with engine.begin() as connection:
        await store.mark_running(connection, 1, [marked.id], [1_000_000])
        ends = [
            final(marked.id, finished_us=2_000_000),
            final(ended.id, started_us=1_000_000, finished_us=2_000_000),
            final(never.id, started_us=None, finished_us=2_000_000),
        ]
        await store.end_expressions(connection, 1, ends)
        rows = [await store.expression(connection, one.id) for one in (marked, ended, never)]
    for row in rows:
        assert row is not None and row.finished_at == row.created_at
    assert [row.started_at for row in rows if row] == [*(row.created_at for row in rows[:2] if row), None]


async def test_claims_take_what_ran_first_and_then_turn_by_turn(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    ann = [draft(owner="ann") for _ in range(3)]
    bob = [draft(owner="bob") for _ in range(3)]
    await insert(engine, *ann, *bob)
    async with engine.begin() as connection:
        await store.mark_running(connection, 1, [bob[2].id], [4_100_000_000_000_000])
    got = await claim(engine, 1, expressions=4)
    assert [row.id for row in got] == [bob[2].id, ann[0].id, ann[1].id, bob[0].id]
    assert (got[0].status, got[0].started_us) == ("running", 4_100_000_000_000_000)
    assert (got[1].text, got[1].plan, got[1].durations) == (
        ann[0].text,
        ann[0].plan_bytes,
        (1000, 1000, 2000, 2000),
    )
    assert [row.id for row in await claim(engine, 1, ann=5)] == [bob[1].id, ann[2].id]
    assert await claim(engine, 1) == []


async def test_an_expression_is_held_by_one_term_only_and_released_by_the_next(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    await insert(engine, sent := draft())
    assert len(await claim(engine, 1)) == 1
    await begin_term(engine, 2)
    assert await claim(engine, 2) == []
    async with engine.begin() as connection:
        await store.release_expressions(connection, 2)
        assert await store.any_waiting(connection)
    assert [row.id for row in await claim(engine, 2)] == [sent.id]


async def test_what_is_held_in_the_table_but_not_in_memory_waits_again(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    kept, lost, given_back = draft(), draft(), draft()
    await insert(engine, kept, lost, given_back)
    await claim(engine, 1)
    async with engine.begin() as connection:
        ids = [given_back.id, draft().id]
        assert await store.return_expressions(connection, 1, ids) == [given_back.id]
        assert await store.return_expressions(connection, 1, ids) == []
        assert await store.return_strays(connection, 1, [kept.id]) == 1
    assert {row.id for row in await claim(engine, 1)} == {lost.id, given_back.id}


async def test_claims_pass_by_what_is_being_cancelled(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    await insert(engine, one := draft(), other := draft())
    async with engine.connect() as cancelling:
        await store.cancel_expression(cancelling, one.id)
        assert [row.id for row in await claim(engine, 1)] == [other.id]


async def test_one_expression_is_claimed_whatever_its_size_where_nothing_is_loaded(
    engine: AsyncEngine,
) -> None:
    await begin_term(engine, 1)
    await insert(engine, draft(tasks=5000), draft(tasks=5000))
    assert len(await claim(engine, 1, tasks=1000)) == 1
    assert await claim(engine, 1, tasks=1000, ann=5000) == []

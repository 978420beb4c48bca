"""A table in which very many wait or have ended: what is asked of it all the time reads few rows, whatever
the planner believes; and who comes last need not wait for those before."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from curta_server import store
from curta_server.core.events import Event, Loaded
from curta_server.intake import new_id
from curta_server.loader import Loader
from curta_server.settings import Settings
from tests.support.drafts import DURATIONS, begin_term, draft, insert, rows, scalar
from tests.support.postgres import on_every_postgres
from tests.support.waiting import until

T = TypeVar("T")

MANY = 20_000
EPOCH = 1

_FILL = text("""
    INSERT INTO expressions (id, owner, text, head, text_length, optimize, status, plan, tasks, durations,
        finished_at, started_at)
    SELECT overlay(CAST(:first AS text) PLACING lpad(to_hex(n), 12, '0') FROM 25)::uuid,
        'many', '1+2', '1+2', 3, true, :status, :plan, 1, ARRAY[1000, 1000, 2000, 2000],
        CASE WHEN :status = 'done' THEN clock_timestamp() END,
        CASE WHEN :status <> 'queued' THEN clock_timestamp() END
    FROM generate_series(1, :count) AS n
""")

_TOUCHED = text("""
    SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
    FROM pg_stat_xact_user_tables WHERE relname = 'expressions'
""")


async def fill(engine: AsyncEngine, status: str, count: int = MANY) -> None:
    async with engine.begin() as connection:
        given = {"first": str(new_id()), "status": status, "plan": draft("1+2").plan_bytes, "count": count}
        await connection.execute(_FILL, given)


async def analyze(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("ANALYZE expressions"))


@pytest.fixture(params=["no statistics", "true statistics", "of another time"])
async def crowded(request: pytest.FixtureRequest, engine: AsyncEngine) -> AsyncEngine:
    """One user has so many done, and then so many waiting; and what the planner knows of it."""
    await begin_term(engine, EPOCH)
    await fill(engine, "done")
    if request.param == "of another time":
        await analyze(engine)
    await fill(engine, "queued")
    if request.param == "true statistics":
        await analyze(engine)
    return engine


async def touched(engine: AsyncEngine, ask: Callable[[AsyncConnection], Awaitable[T]]) -> tuple[T, int]:
    """What is answered, and how many rows of the table were read for it."""
    async with engine.begin() as connection:
        before = int(await connection.scalar(_TOUCHED) or 0)
        answer = await ask(connection)
        return answer, int(await connection.scalar(_TOUCHED) or 0) - before


def claim(count: int, **loaded: int) -> Callable[[AsyncConnection], Awaitable[list[store.ClaimedRow]]]:
    return lambda connection: store.claim_expressions(
        connection, EPOCH, tasks_budget=1_000_000, expressions_budget=count, loaded_by_owner=loaded
    )


@on_every_postgres
async def test_a_claim_reads_little_more_than_it_takes(crowded: AsyncEngine) -> None:
    claimed, read = await touched(crowded, claim(1000))
    assert len(claimed) == 1000 and read <= 6000
    await insert(crowded, late := draft(owner="late"))
    for number in range(100):
        await insert(crowded, draft(owner=f"another {number}"))
    claimed, read = await touched(crowded, claim(1, many=1000))
    assert claimed[0].owner != "many" and read <= 500
    everybody, read = await touched(crowded, claim(101, many=1000))
    assert late.id in {row.id for row in [*claimed, *everybody]} and read <= 2000
    assert {row.owner for row in everybody} >= {f"another {number}" for number in range(1, 100)}


@on_every_postgres
async def test_a_term_begins_and_counts_by_what_is_held_or_ran(crowded: AsyncEngine) -> None:
    await touched(crowded, claim(300))
    await fill(crowded, "running", 20)
    await begin_term(crowded, EPOCH + 1)
    _, read = await touched(crowded, lambda connection: store.release_expressions(connection, EPOCH + 1))
    assert read <= 1000
    is_more, read = await touched(crowded, store.any_waiting)
    assert is_more and read <= 10
    ran, read = await touched(
        crowded,
        lambda connection: store.claim_expressions(
            connection, EPOCH + 1, tasks_budget=1000, expressions_budget=20, loaded_by_owner={}
        ),
    )
    assert {row.status for row in ran} == {"running"} and read <= 200
    strays, read = await touched(crowded, lambda connection: store.return_strays(connection, EPOCH + 1, []))
    assert strays == 20 and read <= 100


@on_every_postgres
async def test_a_page_of_a_list_reads_little_more_than_it_shows(crowded: AsyncEngine) -> None:
    await insert(crowded, draft(owner="few"))
    for owner in (None, "many", "few", "nobody"):
        for statuses in (
            [],
            ["queued"],
            ["running"],
            ["done"],
            ["failed", "cancelled"],
            ["queued", "running"],
        ):
            before = None
            for started in ([], [uuid4() for _ in range(50)]):
                page, read = await touched(
                    crowded,
                    partial(
                        store.list_expressions,
                        owner=owner,
                        statuses=statuses,
                        before=before,
                        limit=51,
                        started=started,
                    ),
                )
                assert read <= 300, (owner, statuses, before, read)
                ids = [row.id for row in page]
                assert ids == sorted(ids, reverse=True)
                assert {row.status for row in page} <= set(statuses or ("queued", "done"))
                assert owner is None or {row.owner for row in page} <= {owner}
                assert len(page) == 51 or owner == "few" or owner == "nobody" or "done" not in statuses
                before = page[-1].id if page else None


class Loading:
    """A loader, and what it brings into memory."""

    def __init__(self, engine: AsyncEngine, **settings: int) -> None:
        self.events: list[Event] = []
        self.loader = Loader(
            engine,
            EPOCH,
            Settings(**settings),  # type: ignore[arg-type]
            post=self.events.append,
            clock_us=lambda: 1_800_000_000_000_000,
            values_bytes=lambda: 0,
            durations=DURATIONS,
        )

    @property
    def owners(self) -> list[str]:
        return [event.user for event in self.events if isinstance(event, Loaded)]

    @property
    def ids(self) -> list[str]:
        return [event.execution.id for event in self.events if isinstance(event, Loaded)]


@asynccontextmanager
async def loading(engine: AsyncEngine, **settings: int) -> AsyncIterator[Loading]:
    one = Loading(engine, **settings)
    running = asyncio.create_task(one.loader.run())
    try:
        yield one
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_who_fills_the_memory_leaves_room_for_newcomers(engine: AsyncEngine) -> None:
    await begin_term(engine, EPOCH)
    await fill(engine, "queued", 100)
    async with loading(engine, loaded_expressions_max=50) as one:
        await until(lambda: len(one.owners) == 45)
        await insert(engine, first := draft(owner="late"), second := draft(owner="late"), draft(owner="too"))
        one.loader.wake()
        await until(lambda: len(one.owners) == 47)
        assert str(first.id) in one.ids and str(second.id) not in one.ids
        assert one.owners.count("many") == 45 and one.owners[-1] != one.owners[-2]
        # And straight into memory, once nobody waits in the table.


async def test_one_user_s_large_expressions_leave_room_for_small_ones(engine: AsyncEngine) -> None:
    await begin_term(engine, EPOCH)
    await insert(engine, *(draft(owner="large", tasks=400) for _ in range(4)))
    async with loading(engine, loaded_tasks_max=1200) as one:
        await until(lambda: len(one.owners) == 2)
        await insert(engine, draft(owner="late"))
        one.loader.wake()
        await until(lambda: one.owners == ["large", "large", "late"])


async def test_places_are_filled_in_bulk_and_not_one_by_one(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin_term(engine, EPOCH)
    await fill(engine, "queued", 300)
    claims = 0
    real = store.claim_expressions

    async def counted(*arguments: object, **more: object) -> list[store.ClaimedRow]:
        nonlocal claims
        claims += 1
        return await real(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "claim_expressions", counted)
    monkeypatch.setattr("curta_server.loader.POLL_S", 60.0)
    async with loading(engine, loaded_expressions_max=100) as one:
        await until(lambda: len(one.owners) == 90)
        before = claims
        for id in one.ids[:4]:
            one.loader.dropped(id)
        await asyncio.sleep(0.05)
        assert claims == before
        one.loader.dropped(one.ids[4])
        await until(lambda: len(one.owners) == 95)


# --- plans that cannot be read ------------------------------------------------------------------------


async def damage(engine: AsyncEngine, id: UUID, plan: bytes) -> None:
    async with engine.begin() as connection:
        given = {"id": id, "plan": plan}
        await connection.execute(text("UPDATE expressions SET plan = :plan WHERE id = :id"), given)


async def status(engine: AsyncEngine, id: UUID) -> object:
    return await scalar(
        engine, f"SELECT status || ' ' || coalesce(error_code, '') FROM expressions WHERE id = '{id}'"
    )


async def test_a_damaged_plan_is_made_again_from_the_text(engine: AsyncEngine) -> None:
    await begin_term(engine, EPOCH)
    await insert(engine, one := draft("(1+2)*(3+4)-5", optimize=False))
    await damage(engine, one.id, b"plan\x01 and no more")
    async with loading(engine) as loaded:
        await until(lambda: loaded.ids == [str(one.id)])
    (event,) = [event for event in loaded.events if isinstance(event, Loaded)]
    assert event.execution.plan == one.plan
    async with engine.connect() as connection:
        assert await store.plan_of(connection, one.id) == (one.text, one.plan_bytes)


@pytest.mark.parametrize("has_begun", ["marked", "journalled"])
async def test_a_damaged_plan_by_which_work_has_begun_fails_its_expression(
    engine: AsyncEngine, has_begun: str
) -> None:
    await begin_term(engine, EPOCH)
    await insert(engine, one := draft("(1+2)*(3+4)"), other := draft())
    async with engine.begin() as connection:
        if has_begun == "marked":
            await store.mark_running(connection, EPOCH, [one.id], [1_800_000_000_000_000])
        else:
            await store.append_journal(connection, EPOCH, rows(one.id, range(1)))
    await damage(engine, one.id, b"")
    async with loading(engine) as loaded:
        await until(lambda: loaded.ids == [str(other.id)])
    assert await status(engine, one.id) == "failed plan_lost"


async def test_a_plan_of_a_later_release_waits_for_that_release(engine: AsyncEngine) -> None:
    await begin_term(engine, EPOCH)
    await insert(engine, one := draft(), other := draft())
    await damage(engine, one.id, b"plan\x63" + one.plan_bytes[5:])
    async with loading(engine) as loaded:
        await until(lambda: loaded.ids == [str(other.id)])
    assert await status(engine, one.id) == "queued "
    async with engine.connect() as connection:
        assert (await store.plan_of(connection, one.id) or ("", b""))[1].startswith(b"plan\x63")

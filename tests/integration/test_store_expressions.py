"""What users do to expressions: stored once, read, listed, cancelled."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from tests.support.drafts import begin_term, draft, end, insert, rows, scalar
from tests.support.postgres import on_every_postgres

pytestmark = on_every_postgres


async def test_a_stored_expression_is_read_back_as_it_was(engine: AsyncEngine) -> None:
    sent = draft("(1+2)×3", client_id="mine", optimize=False)
    (stored,) = await insert(engine, sent)
    assert isinstance(stored, store.Stored) and stored.id == sent.id and stored.epoch == 0
    async with engine.connect() as connection:
        row = await store.expression(connection, sent.id, full=True)
        plan = await store.plan_of(connection, sent.id)
    assert row is not None
    assert (row.owner, row.client_id, row.text, row.head) == ("ann", "mine", "(1+2)×3", "(1+2)×3")
    assert (row.status, row.tasks, row.tasks_done, row.text_length) == ("queued", 2, 0, 7)
    assert (row.durations, row.optimize, row.created_at) == (
        [1000, 1000, 2000, 2000],
        False,
        stored.created_at,
    )
    assert (row.started_at, row.finished_at, row.result, row.is_final) == (None, None, None, False)
    assert plan == (sent.text, sent.plan_bytes)


async def test_a_bare_number_is_done_when_it_is_stored(engine: AsyncEngine) -> None:
    (stored,) = await insert(engine, sent := draft("42", value="42"), epoch=5)
    assert isinstance(stored, store.Stored) and stored.epoch == 0
    async with engine.connect() as connection:
        row = await store.expression(connection, sent.id)
        assert not await store.any_waiting(connection)
    assert row is not None and (row.status, row.result) == ("done", "42")
    assert row.finished_at == row.created_at


async def test_the_same_client_id_and_text_is_the_same_expression(engine: AsyncEngine) -> None:
    await insert(engine, first := draft("2+2", client_id="a"))
    (again,) = await insert(engine, draft("2+2", client_id="a"))
    assert isinstance(again, store.Reused) and again.row.id == first.id
    assert await scalar(engine, "SELECT count(*) FROM expressions") == 1


@pytest.mark.parametrize("other", [draft("2+3", client_id="a"), draft("2+2", client_id="a", optimize=False)])
async def test_the_same_client_id_with_another_text_or_optimize_is_a_conflict(
    engine: AsyncEngine, other: store.Draft
) -> None:
    await insert(engine, first := draft("2+2", client_id="a"))
    assert await insert(engine, other) == [store.Conflict(first.id)]


async def test_client_ids_are_the_users_own(engine: AsyncEngine) -> None:
    found = await insert(engine, draft("2+2", client_id="a"), draft("2+3", client_id="a", owner="bob"))
    assert all(isinstance(one, store.Stored) for one in found)


async def test_in_one_batch_the_first_of_a_client_id_counts(engine: AsyncEngine) -> None:
    first = draft("2+2", client_id="x")
    found = await insert(
        engine, first, draft("2+2", client_id="x"), draft("2+9", client_id="x"), draft("2+2"), draft("2+2")
    )
    assert [type(one) for one in found] == [
        store.Stored,
        store.Reused,
        store.Conflict,
        store.Stored,
        store.Stored,
    ]
    assert isinstance(found[1], store.Reused) and found[1].row.id == first.id


async def test_fifty_at_once_with_one_client_id_make_one_expression(engine: AsyncEngine) -> None:
    results = await asyncio.gather(*(insert(engine, draft("2+2", client_id="same")) for _ in range(50)))
    found = [one for result in results for one in result]
    assert sum(isinstance(one, store.Stored) for one in found) == 1
    ids = {one.row.id if isinstance(one, store.Reused) else one.id for one in found}
    assert len(ids) == 1
    assert await scalar(engine, "SELECT count(*) FROM expressions") == 1


async def test_batches_with_the_same_ids_in_any_order_never_deadlock(engine: AsyncEngine) -> None:
    names = [f"id {i}" for i in range(40)]

    def batch(order: list[str]) -> list[store.Draft]:
        return [draft(f"1+{name[3:]}", client_id=name, owner=f"user {len(name)}") for name in order]

    orders = [names, names[::-1], names[20:] + names[:20], names[::2] + names[1::2]] * 3
    await asyncio.gather(*(insert(engine, *batch(order)) for order in orders))
    assert await scalar(engine, "SELECT count(*) FROM expressions") == 40


async def test_storing_again_after_an_unknown_outcome_stores_nothing_twice(engine: AsyncEngine) -> None:
    drafts = [draft("2+2", client_id="a"), draft("2+3")]
    first = await insert(engine, *drafts)
    assert await insert(engine, *drafts) == first
    assert await scalar(engine, "SELECT count(*) FROM expressions") == 2


async def test_a_draft_is_held_by_the_term_that_leads_and_waits_where_it_is_over(engine: AsyncEngine) -> None:
    await begin_term(engine, 7)
    (held,) = await insert(engine, draft(), epoch=7)
    (late,) = await insert(engine, draft(), epoch=6)
    assert isinstance(held, store.Stored) and held.epoch == 7
    assert isinstance(late, store.Stored) and late.epoch == 0


async def test_lists_are_newest_first_in_pages(engine: AsyncEngine) -> None:
    drafts = [draft() for _ in range(5)]
    await insert(engine, *drafts, draft(owner="bob"))
    async with engine.connect() as connection:
        first = await store.list_expressions(connection, owner="ann", limit=3)
        rest = await store.list_expressions(connection, owner="ann", before=first[-1].id, limit=3)
        everybody = await store.list_expressions(connection)
    assert [row.id for row in (*first, *rest)] == [sent.id for sent in reversed(drafts)]
    assert len(everybody) == 6 and all(row.text is None for row in everybody)


async def test_lists_find_by_status_and_by_a_part_of_the_text(engine: AsyncEngine) -> None:
    done, odd, plain = draft("1e5+1"), draft("100%_+1".replace("%_", "")), draft("7+8")
    await insert(engine, done, odd, plain)
    await end(engine, done.id, days_ago=0)
    async with engine.connect() as connection:

        async def listed(*statuses: str, q: str = "") -> set[str]:
            return {row.head for row in await store.list_expressions(connection, statuses=statuses, q=q)}

        assert await listed("done") == {"1e5+1"}
        assert await listed("queued", "running") == {"100+1", "7+8"}
        assert await listed("queued", "done", q="+1") == {"1e5+1", "100+1"}
        assert await listed(q="1E5") == {"1e5+1"}
        assert await listed(q="%") == set()


async def test_what_started_is_listed_as_running_before_the_table_says_so(engine: AsyncEngine) -> None:
    new, other, started, ended, written = drafts = [draft(f"{n}+1") for n in range(5)]
    foreign = draft("9+1", owner="bob")
    await insert(engine, *drafts, foreign)
    await end(engine, ended.id, days_ago=0)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE expressions SET status = 'running' WHERE id = :id"), {"id": written.id}
        )
        told = [started.id, ended.id, written.id, foreign.id, uuid4()]

        async def listed(*statuses: str, **window: Any) -> list[UUID]:
            window = {"owner": "ann", "started": told} | window
            return [row.id for row in await store.list_expressions(connection, statuses=statuses, **window)]

        assert await listed("running") == [written.id, started.id]
        assert await listed("queued") == [other.id, new.id]
        assert await listed("queued", limit=1, before=other.id) == [new.id]
        assert await listed("running", limit=1, before=written.id) == [started.id]
        assert await listed("running", q="2+") == [started.id]
        assert await listed("done", "running") == [written.id, ended.id, started.id]
        assert await listed("running", owner=None) == [foreign.id, written.id, started.id]
        assert len(await listed("queued", "running")) == 4


async def test_lists_cut_long_texts_and_results(engine: AsyncEngine) -> None:
    digits = "9" * 5000
    await insert(engine, sent := draft(digits, value=digits))
    async with engine.connect() as connection:
        (short,) = await store.list_expressions(connection)
        full = await store.expression(connection, sent.id, full=True)
    assert (short.head, short.result, short.text_length) == (digits[:200], digits[:201], 5000)
    assert full is not None and (full.text, full.result) == (digits, digits)


async def test_cancelling_sets_the_final_status_once(engine: AsyncEngine) -> None:
    one, done = draft(), draft()
    await insert(engine, one, done)
    await end(engine, done.id, days_ago=0)
    async with engine.begin() as connection:
        before_us = await store.clock_us(connection)
        assert await store.cancel_expression(connection, one.id, owner="bob") == "unknown"
        assert await store.cancel_expression(connection, uuid4()) == "unknown"
        assert await store.cancel_expression(connection, one.id, owner="ann", tasks_done=3) == "cancelled"
        assert await store.cancel_expression(connection, one.id) == "already"
        assert await store.cancel_expression(connection, done.id) == "final"
        row = await store.expression(connection, one.id)
        assert row is not None and (row.status, row.tasks_done, row.is_final) == ("cancelled", 3, True)
        assert await store.cancelled_since(connection, before_us) == {one.id}
        assert await store.final_statuses(connection, [one.id, done.id]) == {
            one.id: "cancelled",
            done.id: "done",
        }
        assert await store.open_expressions(connection, [one.id, uuid4()]) == set()
        assert await store.count_open(connection) == {"queued": 0, "running": 0}


async def test_who_cancels_without_knowing_how_far_it_is_has_the_journal_counted(engine: AsyncEngine) -> None:
    await begin_term(engine, 1)
    one, other = draft(), draft()
    await insert(engine, one, other, epoch=1)
    async with engine.begin() as connection:
        await store.append_journal(connection, 1, rows(one.id, range(2)))
        assert await store.count_journalled(connection, [one.id, other.id, uuid4()]) == {one.id: 2}
        for id, done in ((one.id, 2), (other.id, 0)):
            assert await store.cancel_expression(connection, id) == "cancelled"
            row = await store.expression(connection, id)
            assert row is not None and row.tasks_done == done


async def test_durations_are_changed_for_everybody(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        found = await store.operations(connection)
        assert [(row.name, row.symbol, row.duration_ms) for row in found] == [
            ("addition", "+", 1000),
            ("subtraction", "-", 1000),
            ("multiplication", "*", 2000),
            ("division", "/", 2000),
        ]
        changed = await store.set_duration(connection, "division", 604_800_000)
        assert changed == store.OperationRow("division", "/", 604_800_000)
        assert await store.set_duration(connection, "power", 1) is None
        assert (await store.operations(connection))[3] == changed

"""Submissions: many in one commit, each with its own fate."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import errors, intake, store
from curta_server.changed import Changed
from curta_server.embedded import find_programs
from curta_server.intake import Intake, new_id
from tests.support.drafts import begin_term, draft, insert, scalar
from tests.support.postgres import PostgresServer
from tests.support.waiting import until


class Leading:
    """An intake and what the leader beside it gets."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.epoch = 0
        self.held: list[tuple[int, store.Draft]] = []
        self.wakes = 0
        self.intake = Intake(
            engine,
            hold=lambda draft: self.epoch,
            on_stored=self._on_stored,
            on_waiting=self._on_waiting,
            changed=Changed(),
            statement_timeout_s=30,
        )
        self.task = asyncio.create_task(self.intake.run())

    def _on_stored(self, epoch: int, drafts: Sequence[store.Draft]) -> None:
        self.held += [(epoch, draft) for draft in drafts]

    def _on_waiting(self) -> None:
        self.wakes += 1

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@pytest.fixture
async def leading(engine: AsyncEngine) -> AsyncIterator[Leading]:
    one = Leading(engine)
    yield one
    await one.stop()


async def count(engine: AsyncEngine) -> object:
    return await scalar(engine, "SELECT count(*) FROM expressions")


async def test_what_returns_is_stored_and_in_order(leading: Leading, engine: AsyncEngine) -> None:
    drafts = [draft(client_id="a"), draft(), draft("2+2", client_id="a")]
    found = await leading.intake.submit(drafts)
    assert found[0] == store.Stored(drafts[0].id, found[0].created_at, 0)  # type: ignore[union-attr]
    assert isinstance(found[1], store.Stored) and isinstance(found[2], store.Conflict)
    assert await count(engine) == 2
    assert await leading.intake.submit([]) == []


async def test_many_at_once_share_few_commits(leading: Leading, engine: AsyncEngine) -> None:
    statements: list[str] = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    await asyncio.gather(*(leading.intake.submit([draft()]) for _ in range(500)))
    assert await count(engine) == 500
    assert sum("INSERT" in statement for statement in statements) <= 5


async def test_fifty_at_once_with_one_client_id_in_two_processes_make_one_expression(
    leading: Leading, engine: AsyncEngine
) -> None:
    other = Leading(engine)
    results = await asyncio.gather(
        *((leading, other)[i % 2].intake.submit([draft("2+2", client_id="same")]) for i in range(50))
    )
    ids = {one.row.id if isinstance(one, store.Reused) else one.id for (one,) in results}
    assert len(ids) == 1 and await count(engine) == 1
    assert sum(isinstance(one, store.Stored) for (one,) in results) == 1
    await other.stop()


async def test_the_leader_gets_what_it_holds_and_is_woken_for_the_rest(
    leading: Leading, engine: AsyncEngine
) -> None:
    await begin_term(engine, 4)
    await leading.intake.submit([first := draft()])
    assert (leading.held, leading.wakes) == ([], 1)
    leading.epoch = 4
    await leading.intake.submit([second := draft(), draft("7", value="7")])
    assert (leading.held, leading.wakes) == ([(4, second)], 1)
    leading.epoch = 3  # it has not noticed yet that its term is over
    await leading.intake.submit([draft()])
    assert (len(leading.held), leading.wakes) == (1, 2)
    assert await scalar(engine, f"SELECT epoch FROM expressions WHERE id = '{first.id}'") == 0


async def test_a_client_that_goes_away_takes_nobody_with_it(leading: Leading, engine: AsyncEngine) -> None:
    gone = asyncio.create_task(leading.intake.submit([draft()]))
    stays = asyncio.create_task(leading.intake.submit([draft()]))
    await asyncio.sleep(0)
    gone.cancel()
    assert isinstance((await stays)[0], store.Stored)
    assert await count(engine) == 2


async def test_data_that_is_not_accepted_fails_its_own_submission_only(
    leading: Leading, engine: AsyncEngine
) -> None:
    bad = draft(owner="a\0b")
    results = await asyncio.gather(
        leading.intake.submit([draft()]),
        leading.intake.submit([bad]),
        leading.intake.submit([draft()]),
        return_exceptions=True,
    )
    assert isinstance(results[1], Exception) and not isinstance(results[1], errors.Problem)
    assert isinstance(results[0], list) and isinstance(results[2], list)
    assert await count(engine) == 2


async def test_too_much_at_once_is_refused(
    leading: Leading, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "WAITING_DRAFTS_MAX", 3)
    results = await asyncio.gather(
        *(leading.intake.submit([draft()]) for _ in range(5)), return_exceptions=True
    )
    refused = [one for one in results if isinstance(one, errors.Problem)]
    assert len(refused) == 2 and refused[0].status == 503
    assert await count(engine) == 3


async def test_who_waits_when_the_server_stops_gets_an_answer(engine: AsyncEngine) -> None:
    one = Leading(engine)
    waiting = asyncio.create_task(one.intake.submit([draft()]))
    await asyncio.sleep(0)
    await one.stop()
    with pytest.raises(errors.Problem, match="stopping"):
        await waiting


async def test_who_comes_at_the_moment_when_the_server_stops_gets_an_answer(engine: AsyncEngine) -> None:
    one = Leading(engine)
    await one.intake.submit([draft()])
    waiting = asyncio.create_task(one.intake.submit([draft()]))
    one.task.cancel()
    with pytest.raises(errors.Problem, match="stopping"):
        async with asyncio.timeout(5):
            await waiting
    await one.stop()


async def test_a_short_outage_is_waited_for_and_a_long_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    server = await asyncio.to_thread(PostgresServer, find_programs())
    engine = store.create_engine(server.url("template_curta"), pool_size=2, name="curta test")
    one = Leading(engine)
    try:
        await begin_term(engine, 1)
        one.epoch = 1
        await asyncio.to_thread(server.kill)
        patient = asyncio.create_task(one.intake.submit([kept := draft()]))
        await asyncio.to_thread(server.start)
        assert isinstance((await patient)[0], store.Stored)
        assert one.held == [(1, kept)]

        monkeypatch.setattr(intake, "RETRY_S", 0.1)
        await asyncio.to_thread(server.kill)
        with pytest.raises(errors.Problem) as caught:
            await one.intake.submit([draft()])
        assert caught.value.status == 503 and "Retry-After" in caught.value.headers
        await asyncio.to_thread(server.start)
        assert isinstance((await one.intake.submit([draft()]))[0], store.Stored)
    finally:
        await one.stop()
        await engine.dispose()
        await asyncio.to_thread(server.close)


async def lose_the_answer(
    leading: Leading, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> store.Draft:
    """Submit one under term 1 whose client gets a 503; whether it is stored is for the caller to say."""
    await begin_term(engine, 1)
    leading.epoch = 1
    monkeypatch.setattr(intake, "RETRY_S", 0)
    monkeypatch.setattr(intake, "SETTLE_S", 0.01)
    real = store.insert_expressions

    async def lose(*_: object) -> object:
        monkeypatch.setattr(store, "insert_expressions", real)
        raise ConnectionResetError("cut in the middle of the commit")

    monkeypatch.setattr(store, "insert_expressions", lose)
    with pytest.raises(errors.Problem):
        await leading.intake.submit([lost := draft()])
    return lost


async def test_what_comes_into_the_table_after_its_client_was_told_otherwise_waits_for_the_leader(
    leading: Leading, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    real = store.return_expressions

    async def counted(*args: object) -> object:
        nonlocal tries
        tries += 1
        return await real(*args)  # type: ignore[arg-type]

    async def waits() -> bool:
        return await scalar(engine, f"SELECT epoch FROM expressions WHERE id = '{lost.id}'") == 0

    monkeypatch.setattr(store, "return_expressions", counted)
    lost = await lose_the_answer(leading, engine, monkeypatch)
    await until(lambda: tries >= 2)  # PostgreSQL is slower than the news of the cut
    assert leading.wakes == 0
    await insert(engine, lost, epoch=1)
    await until(waits)
    await until(lambda: leading.wakes == 1)
    assert not leading.held and not leading.intake._unsettled


async def test_what_never_came_into_the_table_is_forgotten(
    leading: Leading, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    leading.intake._statement_timeout_s = 0
    await lose_the_answer(leading, engine, monkeypatch)
    await until(lambda: not leading.intake._unsettled)
    assert leading.wakes == 0 and await count(engine) == 0


async def test_nobody_waits_for_the_long_one_of_somebody_else(
    leading: Leading, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store.insert_expressions
    is_written = asyncio.Event()

    async def slow_with_long_ones(connection: Any, drafts: Sequence[store.Draft], *rest: Any) -> object:
        if any(len(one.text) > intake.SHORT_BYTES_MAX for one in drafts):
            await is_written.wait()
        return await real(connection, drafts, *rest)

    monkeypatch.setattr(store, "insert_expressions", slow_with_long_ones)
    long = dataclasses.replace(draft(), text="1+1" + " " * intake.SHORT_BYTES_MAX)
    many = [draft() for _ in range(intake.SHORT_DRAFTS_MAX + 1)]
    slow = asyncio.create_task(leading.intake.submit([long]))
    behind = asyncio.create_task(leading.intake.submit(many))
    await asyncio.sleep(0)
    assert isinstance((await leading.intake.submit([draft()]))[0], store.Stored)
    assert await count(engine) == 1 and not slow.done() and not behind.done()
    is_written.set()
    await asyncio.gather(slow, behind)
    assert await count(engine) == 2 + len(many)


async def test_a_full_lane_leaves_the_other_open(
    leading: Leading, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "WAITING_BYTES_MAX", 0)  # one at a time
    monkeypatch.setattr(intake, "SHORT_DRAFTS_MAX", 1)
    results = await asyncio.gather(
        *(leading.intake.submit([draft() for _ in range(size)]) for size in (2, 2, 1, 1)),
        return_exceptions=True,
    )
    assert [isinstance(one, errors.Problem) for one in results] == [False, True, False, True]
    assert await count(engine) == 3


def test_ids_are_version_7_and_in_order() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert {id.version for id in ids} == {7} and {id.variant for id in ids} == {"specified in RFC 4122"}

"""What a leader writes about agents after its term is over does not count: the next one has read the rows."""

import time
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from curta_server.errors import NotLeading
from curta_server.roster import Guest, Roster
from tests.support.drafts import begin_term


def guest() -> Guest:
    return Guest(id=str(uuid4()), name="a", token_id=str(uuid4()), owner="agents", slots=1)


async def leading(engine: AsyncEngine, epoch: int, *guests: Guest) -> Roster:
    roster = Roster(engine, lambda: int(time.time() * 1_000_000))
    await begin_term(engine, epoch)
    await roster.load(epoch)
    for one in guests:
        roster.came(one)
    return roster


async def rows(engine: AsyncEngine) -> dict[str, store.AgentRow]:
    async with engine.connect() as connection:
        return {str(row.id): row for row in await store.list_agents(connection)}


@pytest.mark.parametrize("what", ["drain", "remove"])
async def test_who_leads_no_more_drains_and_removes_nobody(engine: AsyncEngine, what: str) -> None:
    one, other = guest(), guest()
    roster = await leading(engine, 1, one)
    assert await roster.drain(one.id)
    roster.came(other)
    await begin_term(engine, 2)
    with pytest.raises(NotLeading):
        await getattr(roster, what)(one.id)
    assert list(await rows(engine)) == [one.id], "nor saves who came"


async def test_a_drain_survives_the_leader(engine: AsyncEngine) -> None:
    one = guest()
    assert await (await leading(engine, 1, one)).drain(one.id)
    roster = await leading(engine, 2)
    assert roster.is_draining(one.id)


async def test_who_is_lost_is_told_to_the_next_leader_and_who_left_is_not(engine: AsyncEngine) -> None:
    here, silent, leaving, removed = (guest() for _ in range(4))
    roster = await leading(engine, 1, here, silent, leaving, removed)
    roster.lost(silent.id)
    roster.left(leaving.id)
    assert await roster.remove(removed.id)
    await roster._save()
    assert {id for id, row in (await rows(engine)).items() if row.connected} == {here.id}
    assert set(await Roster(engine, lambda: 0).load(2)) == {silent.id}


async def test_who_came_and_left_while_the_database_was_away_has_left(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = guest(), guest()
    roster = await leading(engine, 1, one, other)
    roster.left(one.id)
    with monkeypatch.context() as away:
        away.setattr(store, "hold_term", raises_outage)
        with pytest.raises(ConnectionRefusedError):
            await roster._save()
    await roster._save()
    assert {id for id, row in (await rows(engine)).items() if row.connected} == {other.id}


async def raises_outage(*_: object) -> None:
    raise ConnectionRefusedError


async def test_a_drain_that_the_table_cannot_remember_is_refused(engine: AsyncEngine) -> None:
    one = guest()
    roster = await leading(engine, 1, one)
    await begin_term(engine, 2)
    await roster.load(2)  # this process leads again, and what it had not saved is out of date
    assert not await roster.drain(one.id)
    assert not roster.is_draining(one.id)

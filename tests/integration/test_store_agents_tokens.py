"""What the database remembers of agents and tokens."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from tests.support.postgres import on_every_postgres

pytestmark = on_every_postgres


async def now_us(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return await store.clock_us(connection)


def seen(id: UUID, at_us: int, *, name: str = "box", slots: int = 4) -> store.AgentSeen:
    return store.AgentSeen(
        id=str(id),
        name=name,
        token_id=str(uuid4()),
        owner="ann",
        slots=slots,
        operations=("addition", "division"),
        version="1",
        connected_us=at_us,
        seen_us=at_us,
    )


async def test_agents_are_remembered_until_they_are_lost_and_when_they_come_back(engine: AsyncEngine) -> None:
    at_us = await now_us(engine)
    one, other = uuid4(), uuid4()
    async with engine.begin() as connection:
        await store.save_agents(connection, [seen(one, at_us), seen(other, at_us)])
        assert await store.connected_agents(connection) == {one, other}
        await store.mark_lost(connection, {str(one): at_us + 5})
        assert await store.connected_agents(connection) == {other}
        row = (await store.agents_by_id(connection, [one]))[one]
        assert (row.connected, row.slots, row.operations) == (False, 4, ["addition", "division"])
        assert row.lost_at is not None and row.lost_at - row.seen_at == timedelta(microseconds=5)
        await store.save_agents(connection, [seen(one, at_us + 9, slots=8)])
        row = (await store.agents_by_id(connection, [one]))[one]
        assert (row.connected, row.slots, row.lost_at) == (True, 8, None)


async def test_a_drain_survives_a_reconnect_and_a_removal_lasts_a_while(engine: AsyncEngine) -> None:
    at_us = await now_us(engine)
    id = uuid4()
    async with engine.begin() as connection:
        assert not await store.drain_agent(connection, id)
        assert not await store.remove_agent(connection, id)
        await store.save_agents(connection, [seen(id, at_us)])
        assert await store.drain_agent(connection, id)
        await store.save_agents(connection, [seen(id, at_us)])
        assert (await store.agents_by_id(connection, [id]))[id].draining
        assert await store.remove_agent(connection, id, seconds=60)
        row = (await store.agents_by_id(connection, [id]))[id]
        assert not row.connected and row.removed_until is not None
        assert 50 < (row.removed_until - datetime.now(UTC)).total_seconds() < 70


async def test_lost_agents_are_listed_for_a_while_and_forgotten_at_last(engine: AsyncEngine) -> None:
    at_us = await now_us(engine)
    ids = sorted(uuid4() for _ in range(4))
    async with engine.begin() as connection:
        await store.save_agents(connection, [seen(id, at_us) for id in ids])
        hour_us, day_us = 3_600_000_000, 86_400_000_000
        await store.mark_lost(
            connection, {str(ids[0]): at_us - hour_us // 2, str(ids[1]): at_us - 3 * day_us}
        )
        assert [row.id for row in await store.list_agents(connection)] == [ids[0], ids[2], ids[3]]
        assert [row.id for row in await store.list_agents(connection, after=ids[0], limit=1)] == [ids[2]]
        assert await store.forget_agents(connection, days=2, limit=10) == 1
        assert set(await store.agents_by_id(connection, ids)) == {ids[0], ids[2], ids[3]}


async def token(engine: AsyncEngine, role: str, *, expires_at: datetime | None = None) -> store.TokenRow:
    async with engine.begin() as connection:
        row = await store.create_token(
            connection, id=(id := uuid4()), name="x", role=role, digest=id.bytes * 2, expires_at=expires_at
        )
    assert row is not None
    return row


async def test_tokens_are_found_by_digest_while_they_are_usable(engine: AsyncEngine) -> None:
    live = await token(engine, "user")
    expired = await token(engine, "user", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    async with engine.begin() as connection:
        assert await store.tokens_by_digests(connection, [live.id.bytes * 2]) == [(live, live.id.bytes * 2)]
        assert await store.tokens_by_digests(connection, [expired.id.bytes * 2]) == []
        assert await store.unusable_tokens(connection, [live.id, expired.id]) == {expired.id}
        assert {row.id for row in await store.list_tokens(connection)} == {live.id, expired.id}
        assert await store.revoke_token(connection, live.id) == "revoked"
        assert await store.revoke_token(connection, live.id) == "revoked"
        assert await store.revoke_token(connection, uuid4()) == "unknown"
        assert await store.tokens_by_digests(connection, [live.id.bytes * 2]) == []
        assert await store.unusable_tokens(connection, [live.id, gone := uuid4()]) == {live.id, gone}


async def test_the_same_secret_makes_no_second_token(engine: AsyncEngine) -> None:
    row = await token(engine, "user")
    async with engine.begin() as connection:
        again = await store.create_token(
            connection, id=uuid4(), name="y", role="user", digest=row.id.bytes * 2, expires_at=None
        )
    assert again is None


async def test_of_two_admins_that_revoke_each_other_one_stays(engine: AsyncEngine) -> None:
    await token(engine, "admin", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    admins = [await token(engine, "admin"), await token(engine, "admin")]

    async def revoke(id: UUID) -> str:
        async with engine.begin() as connection:
            return await store.revoke_token(connection, id)

    outcomes = await asyncio.gather(*(revoke(admin.id) for admin in admins))
    assert sorted(outcomes) == ["last_admin", "revoked"]


async def test_last_use_is_remembered_and_never_goes_back(engine: AsyncEngine) -> None:
    row = await token(engine, "user")

    async def last_used() -> datetime:
        async with engine.connect() as connection:
            (found,) = await store.list_tokens(connection)
        assert found.last_used_at is not None
        return found.last_used_at

    async with engine.begin() as connection:
        await store.touch_tokens(connection, {row.id: 10.0})
    first = await last_used()
    async with engine.begin() as connection:
        await store.touch_tokens(connection, {row.id: 3600.0})
    assert await last_used() == first < datetime.now(UTC) - timedelta(seconds=9)

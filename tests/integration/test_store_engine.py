"""Connections that fail, and pools that recover from it."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from curta_server.embedded import find_programs
from tests.support.drafts import scalar
from tests.support.postgres import PostgresServer
from tests.support.waiting import until


async def test_connections_carry_their_name_and_their_limits(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW application_name")) == "curta test"
        assert await connection.scalar(text("SHOW statement_timeout")) == "30s"
        assert await connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "5s"
        assert await connection.scalar(text("SHOW transaction_isolation")) == "read committed"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost:1/x",
        "postgresql://no.such.host.invalid/x",
        "postgresql://u@/x?host=/no/such/directory",
    ],
)
async def test_nobody_at_home_is_an_outage(url: str) -> None:
    engine = store.create_engine(url, pool_size=1, name="curta test")
    with pytest.raises(Exception) as caught:
        async with engine.connect():
            pass
    assert store.is_outage(caught.value)
    await engine.dispose()


async def test_a_pool_whose_connections_were_cut_serves_the_next_request(
    database_url: str, engine: AsyncEngine
) -> None:
    async def pid() -> object:
        return await scalar(engine, "SELECT pg_backend_pid()")

    before = await asyncio.gather(*(pid() for _ in range(5)))
    alone = await store.connect(database_url, name="cutter", statement_timeout_s=5)
    await alone.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'curta test'"
    )
    await until(lambda: gone(alone))
    await alone.close()
    assert await pid() not in before


async def gone(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'curta test'"
    return bool(await connection.fetchval(statement) == 0)


async def test_a_connection_that_is_cut_in_use_is_an_outage(engine: AsyncEngine) -> None:
    with pytest.raises(exc.DBAPIError) as caught:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert store.is_outage(caught.value)
    assert await scalar(engine, "SELECT 1") == 1


async def test_a_statement_that_takes_too_long_and_a_pool_that_is_empty_are_outages(
    database_url: str,
) -> None:
    engine = store.create_engine(
        database_url, pool_size=1, name="curta test", statement_timeout_s=0.05, pool_timeout_s=0.05
    )
    async with engine.connect() as connection:
        with pytest.raises(Exception) as slow:
            await connection.execute(text("SELECT pg_sleep(5)"))
        with pytest.raises(Exception) as empty:
            await scalar(engine, "SELECT 1")
    assert store.is_outage(slow.value) and store.is_outage(empty.value)
    await engine.dispose()


async def test_a_defect_is_no_outage(engine: AsyncEngine) -> None:
    for statement in (
        "SELECT nonsense",
        "SELECT 1 / 0",
        "INSERT INTO operations VALUES ('addition', '+', 1, 1)",
    ):
        with pytest.raises(exc.DBAPIError) as caught:
            await scalar(engine, statement)
        assert not store.is_outage(caught.value)
    assert not store.is_outage(ValueError("closed"))


async def test_everything_goes_on_when_postgresql_comes_back_after_kill() -> None:
    server = await asyncio.to_thread(PostgresServer, find_programs())
    engine = store.create_engine(server.url("template_curta"), pool_size=2, name="curta test")
    try:
        assert await scalar(engine, "SELECT 1") == 1
        await asyncio.to_thread(server.kill)
        with pytest.raises(Exception) as caught:
            await scalar(engine, "SELECT 1")
        assert store.is_outage(caught.value)
        await asyncio.to_thread(server.start)
        assert await scalar(engine, "SELECT 1") == 1
    finally:
        await engine.dispose()
        await asyncio.to_thread(server.close)


async def test_the_databases_clock_is_in_microseconds(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        first, second = await store.clock_us(connection), await store.clock_us(connection)
    assert 1_700_000_000_000_000 < first < second < first + 10_000_000

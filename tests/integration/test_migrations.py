"""The migrations: up, down, and the same as the tables."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import migrate, store
from curta_server.tables import metadata
from tests.support.postgres import PostgresServer, on_every_postgres

pytestmark = on_every_postgres

_SCHEMA = """
    SELECT c.relname || ' ' || coalesce(pg_get_indexdef(i.indexrelid), pg_get_constraintdef(k.oid), '')
    FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
    LEFT JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'c'
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'alembic%' ORDER BY 1
"""


@pytest.fixture
def empty_url(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.database(template="template0")
    yield url
    postgres.drop(url)


async def schema(url: str) -> list[Any]:
    engine = store.create_engine(url, pool_size=1, name="curta test")
    async with engine.connect() as connection:
        found = list((await connection.execute(text(_SCHEMA))).scalars())
    await engine.dispose()
    return found


async def test_the_newest_revision_equals_the_tables(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_newest_revision_has_the_indexes_and_checks_of_the_tables(
    engine: AsyncEngine, database_url: str, empty_url: str
) -> None:
    other = store.create_engine(empty_url, pool_size=1, name="curta test")
    async with other.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await other.dispose()
    assert await schema(database_url) == await schema(empty_url)


async def test_up_and_down_and_up_again(empty_url: str) -> None:
    head = await asyncio.to_thread(migrate.migrate, empty_url)
    full = await schema(empty_url)
    assert await asyncio.to_thread(migrate.migrate, empty_url) == head
    assert await asyncio.to_thread(migrate.downgrade, empty_url, "base") == "base"
    assert await schema(empty_url) == []
    await asyncio.to_thread(migrate.migrate, empty_url)
    assert await schema(empty_url) == full


async def test_several_who_migrate_at_once_take_turns(empty_url: str) -> None:
    heads = await asyncio.gather(*(asyncio.to_thread(migrate.migrate, empty_url) for _ in range(4)))
    assert len(set(heads)) == 1


async def test_a_database_is_ready_when_its_schema_is_at_least_ours(empty_url: str) -> None:
    engine = store.create_engine(empty_url, pool_size=1, name="curta test")
    state = await migrate.schema_state(engine)
    assert (state.current, state.is_ready) == (None, False)
    head = await asyncio.to_thread(migrate.migrate, empty_url)
    state = await migrate.schema_state(engine)
    assert (state.current, state.head, state.is_ready) == (head, head, True)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'of a later release'"))
    assert (await migrate.schema_state(engine)).is_ready
    assert await asyncio.to_thread(migrate.migrate, empty_url) == "of a later release"
    await engine.dispose()

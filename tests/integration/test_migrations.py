"""The migrations: up, down, and the same as the tables."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import migrate, store
from curta_server.tables import metadata
from tests.integration.orchestrators import orchestrator
from tests.support.postgres import PostgresServer, on_every_postgres
from tests.support.waiting import until

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


@pytest.fixture
def revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of a later release's migrations, to which a test may add some."""
    directory = tmp_path / "migrations"
    shutil.copytree(migrate._directory(), directory)
    monkeypatch.setattr(migrate, "_directory", lambda: directory)
    for cached in (migrate._scripts, migrate._head):
        cached.cache_clear()
    yield directory / "versions"
    for cached in (migrate._scripts, migrate._head):
        cached.cache_clear()


def add_revision(directory: Path, name: str, after: str, *statements: str) -> None:
    """One more migration; the caches do not know it yet."""
    (directory / f"{name}.py").write_text(
        f'"""{name.capitalize()}, as a test has it."""\n'
        "from alembic import op\n"
        f"revision, down_revision, branch_labels, depends_on = {name!r}, {after!r}, None, None\n"
        "def upgrade():\n"
        + "".join(f"    op.execute({one!r})\n" for one in statements)
        + "def downgrade():\n    pass\n"
    )
    migrate._scripts.cache_clear()
    migrate._head.cache_clear()


async def test_a_migration_that_fails_halfway_changes_nothing_and_says_so(
    empty_url: str, revisions: Path
) -> None:
    head = await asyncio.to_thread(migrate.migrate, empty_url)
    before = await schema(empty_url)
    add_revision(revisions, "good", head, "CREATE TABLE new_table (a integer)")
    add_revision(revisions, "bad", "good", "CREATE INDEX new_index ON journal (agent)", "SELECT 1 / 0")
    for _ in range(2):  # the lock is free again
        with pytest.raises(migrate.MigrationFailed) as caught:
            await asyncio.to_thread(migrate.migrate, empty_url)
        assert str(caught.value) == (
            "Revision bad (Bad, as a test has it) failed, and the schema stays as it was: division by zero"
        )
        assert await schema(empty_url) == before
    engine = store.create_engine(empty_url, pool_size=1, name="curta test")
    state = await migrate.schema_state(engine)
    assert (state.current, state.head, state.is_ready) == (head, "bad", False)
    await engine.dispose()

    add_revision(revisions, "bad", "good", "CREATE INDEX new_index ON journal (agent)")
    assert await asyncio.to_thread(migrate.migrate, empty_url) == "bad"
    assert any(line.startswith("new_index ") for line in await schema(empty_url))


async def test_a_migration_does_not_keep_others_from_a_table_that_somebody_holds(
    empty_url: str, revisions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_S", 0.1)
    monkeypatch.setattr(migrate, "_PAUSE_S", (0.01, 0.02))
    head = await asyncio.to_thread(migrate.migrate, empty_url)
    add_revision(revisions, "next", head, "ALTER TABLE operations ADD COLUMN note text")
    engine = store.create_engine(empty_url, pool_size=2, name="curta test")
    async with engine.connect() as somebody:
        await somebody.execute(text("SELECT * FROM operations"))
        monkeypatch.setattr(migrate, "PATIENCE_S", 0.3)
        with pytest.raises(migrate.MigrationFailed, match="lock timeout"):
            await asyncio.to_thread(migrate.migrate, empty_url)

        monkeypatch.setattr(migrate, "PATIENCE_S", 60)
        migrating = asyncio.create_task(asyncio.to_thread(migrate.migrate, empty_url))

        async def has_given_way() -> bool:
            await somebody.execute(text("SELECT pg_stat_clear_snapshot()"))
            waits = await somebody.scalar(text(_WAITS))
            async with asyncio.timeout(2):  # behind a lock that is waited for it would not come through
                async with engine.connect() as other:
                    await other.execute(text("SELECT * FROM operations"))
            return bool(waits)

        await until(has_given_way)
        await somebody.rollback()
        assert await migrating == "next"
    await engine.dispose()


_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'curta migrate'"


async def test_the_server_works_on_the_schema_of_a_later_release(database_url: str, revisions: Path) -> None:
    add_revision(
        revisions,
        "later",
        migrate._head(),
        "ALTER TABLE expressions ADD COLUMN note text",
        "ALTER TABLE leadership ADD COLUMN note text NOT NULL DEFAULT 'x'",
        "CREATE TABLE more (id integer)",
    )
    assert await asyncio.to_thread(migrate.migrate, database_url) == "later"
    (revisions / "later.py").unlink()
    migrate._scripts.cache_clear()
    migrate._head.cache_clear()
    async with orchestrator(database_url) as one, one.agent() as agent:
        assert (await one.admin.http.get("/readyz")).status_code == 200
        await agent.join()
        serving = asyncio.create_task(agent.serve())
        assert (await one.admin.compute("2+2*2"))["result"] == "6"
        serving.cancel()


async def test_a_server_on_an_older_schema_says_so_and_does_not_migrate(database_url: str) -> None:
    head = migrate._head()
    await asyncio.to_thread(migrate.downgrade, database_url, "0001")
    engine = store.create_engine(database_url, pool_size=1, name="curta test")
    state = await migrate.schema_state(engine)
    assert (state.current, state.head, state.is_ready) == ("0001", head, False)
    await engine.dispose()

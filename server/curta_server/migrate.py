"""Brings the schema up to date, and says whether it is. Called by `curta migrate`, `curta up` and /readyz.

The revisions stand in alembic/ of the checkout and inside the package of an installation. Several who migrate
at once take turns by an advisory lock; an orchestrator never migrates by itself.
"""

import asyncio
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store

_LOCK = 0x4355525441_02
"""Any number that nobody else takes: "CURTA" and a 2. Leadership's ends in 1."""

_TIMEOUT_S = 3600.0
"""A migration may rewrite a large table."""


@dataclass(frozen=True)
class SchemaState:
    """`current` is None on an empty database. A newer schema than ours is ready too: migrations keep the
    previous release working, so that orchestrators can be replaced one by one."""

    current: str | None
    head: str
    is_ready: bool


def migrate(url: str) -> str:
    """Upgrade to the newest revision, whose name is returned. Waits for whoever migrates at the moment.

    To be called outside an event loop. Raises what `store.is_outage` tells apart.
    """
    return asyncio.run(_move(url, _head()))


def downgrade(url: str, revision: str) -> str:
    """Go back to an older revision, "base" being the empty schema. For tests and for those who know why."""
    return asyncio.run(_move(url, revision))


async def schema_state(engine: AsyncEngine) -> SchemaState:
    """Which revision the database has, and whether it is at least ours."""
    async with engine.connect() as connection:
        current = await connection.run_sync(_current)
    # A revision that we do not know is of a later release.
    older = {script.revision for script in _scripts().walk_revisions()} - {_head()}
    return SchemaState(current, _head(), current is not None and current not in older)


async def _move(url: str, revision: str) -> str:
    engine = store.create_engine(url, pool_size=1, name="curta migrate", statement_timeout_s=_TIMEOUT_S)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            await connection.run_sync(_run, revision)
            return await connection.run_sync(_current) or "base"
    finally:
        await engine.dispose()


def _run(connection: Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    current = _current(connection)
    if revision == _head():
        if current is None or _is_known(current):
            command.upgrade(config, revision)
    else:
        command.downgrade(config, revision)


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _is_known(revision: str) -> bool:
    return any(script.revision == revision for script in _scripts().walk_revisions())


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


@cache
def _head() -> str:
    head = _scripts().get_current_head()
    assert head is not None
    return head


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_directory()).replace("%", "%%"))
    return config


def _directory() -> Path:
    package = Path(__file__).resolve().parent
    packaged = package / "migrations"
    return packaged if packaged.is_dir() else package.parents[1] / "alembic"

"""Brings the schema up to date, and says whether it is. Called by `curta migrate`, `curta up` and /readyz.

The revisions stand in alembic/ of the checkout and inside the package of an installation. Several who migrate
at once take turns by an advisory lock; an orchestrator never migrates by itself. All revisions that are
missing are one transaction: either the schema is the newest one, or nothing has changed.
"""

import asyncio
import random
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store

_LOCK = 0x4355525441_02
"""Any number that nobody else takes: "CURTA" and a 2. Leadership's ends in 1."""

_TIMEOUT_S = 3600.0
"""A migration may rewrite a large table."""

LOCK_S = 2.0
"""A statement that waits for a table's lock has everybody else who wants that table wait behind it: so it
gives up early, and the migration begins again."""

PATIENCE_S = 120.0
"""So long in all; then somebody has to see what keeps the table."""

_PAUSE_S = (0.5, 2.0)


class MigrationFailed(Exception):
    """A revision did not work. The schema is as it was; the message says which revision it was, and why."""


@dataclass(frozen=True)
class SchemaState:
    """`current` is None on an empty database. A newer schema than ours is ready too: migrations keep the
    previous release working, so that orchestrators can be replaced one by one."""

    current: str | None
    head: str
    is_ready: bool
    is_read_only: bool = False
    """A standby, or told so: nothing can be stored."""


def migrate(url: str) -> str:
    """Upgrade to the newest revision, whose name is returned. Waits for whoever migrates at the moment.

    To be called outside an event loop. Raises: MigrationFailed, and what `store.is_outage` tells apart.
    """
    return asyncio.run(_move(url, _head()))


def downgrade(url: str, revision: str) -> str:
    """Go back to an older revision, "base" being the empty schema. For tests and for those who know why."""
    return asyncio.run(_move(url, revision))


async def schema_state(engine: AsyncEngine) -> SchemaState:
    """Which revision the database has, and whether it is at least ours."""
    async with engine.connect() as connection:
        current = await connection.run_sync(_current)
        read_only = await connection.scalar(text("SHOW transaction_read_only"))
    # A revision that we do not know is of a later release.
    older = {script.revision for script in _scripts().walk_revisions()} - {_head()}
    return SchemaState(current, _head(), current is not None and current not in older, read_only == "on")


async def _move(url: str, revision: str) -> str:
    engine = store.create_engine(url, pool_size=1, name="curta migrate", statement_timeout_s=_TIMEOUT_S)
    give_up = time.monotonic() + PATIENCE_S
    try:
        while True:
            try:
                async with engine.begin() as connection:
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                    await connection.execute(text(f"SET LOCAL lock_timeout = {round(LOCK_S * 1000)}"))
                    await connection.run_sync(_run, revision)
                    return await connection.run_sync(_current) or "base"
            except MigrationFailed as failed:
                if not store.is_busy(failed.__cause__) or time.monotonic() > give_up:
                    raise
            await asyncio.sleep(random.uniform(*_PAUSE_S))
    finally:
        await engine.dispose()


def _run(connection: Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    current = _current(connection)
    if revision != _head():
        command.downgrade(config, revision)
    elif current is None or _is_known(current):
        for step in reversed(list(_scripts().iterate_revisions(revision, current or "base"))):
            try:
                command.upgrade(config, step.revision)
            except Exception as error:
                if store.is_outage(error) and not store.is_busy(error):
                    raise
                raise MigrationFailed(
                    f"Revision {step.revision} ({_title(step)}) failed, and the schema stays as it was:"
                    f" {_reason(error)}"
                ) from error


def _title(step: Script) -> str:
    return step.doc.partition("\n")[0].rstrip(".")


def _reason(error: Exception) -> str:
    """The database's own sentence, without the statement and the driver's names around it."""
    cause = getattr(error, "orig", None)
    reason = str((cause.__cause__ if cause is not None else None) or error).partition("\n")[0]
    return f"{type(error).__name__}: {reason}" if cause is None else reason


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

"""Deletes what is old: journals soon, expressions late or never, what is open never; and sessions that are
over.

Called by `curta prune`, and run by the leader once an hour. It goes in small batches with a pause after each,
so that nobody else has to wait.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store

log = logging.getLogger(__name__)

BATCH_ROWS = 5_000
PAUSE_S = 0.05
EVERY_S = 3600.0
AGENTS_DAYS = 30.0
"""Agents that are gone are shown for an hour and named in journals for a while."""


@dataclass(frozen=True, slots=True)
class Pruned:
    expressions: int
    journal_rows: int


async def prune(
    engine: AsyncEngine,
    *,
    journal_days: float = 0.0,
    days: float = 0.0,
    on_batch: Callable[[Pruned], None] = lambda _: None,
) -> Pruned:
    """Delete the journals of expressions that ended more than `journal_days` ago, and expressions with all
    that is theirs that ended more than `days` ago; 0 leaves either alone. `on_batch` gets the sums so far.

    Safe to stop at any moment and to run twice at once. Raises what `store.is_outage` tells apart.
    """
    async with engine.connect() as connection:
        now = datetime.fromtimestamp(await store.clock_us(connection) / 1_000_000, UTC)
    expressions = rows = 0
    while days > 0:
        async with engine.begin() as connection:
            batch = await store.prune_expressions(connection, now - timedelta(days=days), BATCH_ROWS)
        if batch == (0, 0):
            break
        expressions, rows = expressions + batch[0], rows + batch[1]
        on_batch(Pruned(expressions, rows))
        await asyncio.sleep(PAUSE_S)
    while journal_days > 0:
        async with engine.begin() as connection:
            deleted = await store.prune_journals(connection, now - timedelta(days=journal_days), BATCH_ROWS)
        if not deleted:
            break
        rows += deleted
        on_batch(Pruned(expressions, rows))
        await asyncio.sleep(PAUSE_S)
    return Pruned(expressions, rows)


async def run(
    engine: AsyncEngine, *, journal_days: float, days: float, is_leading: Callable[[], bool]
) -> NoReturn:
    """Prune once an hour while this process leads, until cancelled."""
    while True:
        if is_leading():
            try:
                pruned = await prune(engine, journal_days=journal_days, days=days)
                async with engine.begin() as connection:
                    await store.forget_agents(connection, days=AGENTS_DAYS, limit=BATCH_ROWS)
                    await store.prune_sessions(connection, BATCH_ROWS)
                if pruned != Pruned(0, 0):
                    log.info(
                        "pruned %s expressions, %s journal rows", pruned.expressions, pruned.journal_rows
                    )
            except Exception as error:
                if not store.is_outage(error):
                    raise
                log.warning("pruning is put off, the database is away: %s", error)
        await asyncio.sleep(EVERY_S)

"""Says that this orchestrator is there, and knows where the others are.

Run by `app`. Each orchestrator keeps a row of its own fresh; agents are told the addresses when they are
welcomed, so that they know where to go when theirs dies. Who leads is `leadership`'s.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store

log = logging.getLogger(__name__)

EVERY_S = 5.0
FRESH_S = 15.0
"""Two rows in a row may be late."""
GONE_S = 3600.0
PEERS_MAX = 64
"""More than anybody has; an agent keeps no more of them."""
LEAVE_S = 0.5


class Presence:
    """This orchestrator's row, and the addresses of all."""

    def __init__(self, engine: AsyncEngine, *, id: UUID, url: str) -> None:
        self._engine = engine
        self._id = id
        self._url = url
        self._present = [store.OrchestratorRow(id, url, 0.0)]
        self._looked_s = time.monotonic()

    def urls(self) -> list[str]:
        """Where the orchestrators are reached, this one first; as of some seconds ago."""
        return [self._url, *(one.url for one in self._present if one.url != self._url)]

    def orchestrators(self) -> list[store.OrchestratorRow]:
        """Who is there, as far as this one knows; in an order that stays."""
        since_s = time.monotonic() - self._looked_s
        return [replace(one, seen_s=one.seen_s + since_s) for one in self._present]

    async def run(self, is_leading: Callable[[], bool]) -> None:
        """Keep the row fresh until cancelled, then remove it. While the database is away, the addresses stay
        as they were."""
        try:
            while True:
                try:
                    await self._appear(is_leading())
                except Exception as error:
                    if not store.is_outage(error):
                        raise
                    log.debug("the orchestrators are not looked up: %s", error)
                # Not all at the same moment, though they were started so.
                await asyncio.sleep(random.uniform(0.8, 1.0) * EVERY_S)
        finally:
            await self._leave()

    async def _appear(self, is_leading: bool) -> None:
        async with self._engine.begin() as connection:
            await store.appear(connection, self._id, self._url)
            self._present = await store.present_orchestrators(connection, fresh_s=FRESH_S, limit=PEERS_MAX)
            self._looked_s = time.monotonic()
            if is_leading:
                await store.forget_orchestrators(connection, gone_s=GONE_S)

    async def _leave(self) -> None:
        # What fails here is made up for by the row growing old.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(LEAVE_S), self._engine.begin() as connection:
                await store.disappear(connection, self._id)

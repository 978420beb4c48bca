"""Whether the database answers: asked every second on a connection of its own.

A database that is down refuses, and everybody finds out at once. One that hangs, or a network that went
silent, says nothing: each request would wait for its own timeout, and the next ones for a place in the pool.
So one asks for all; when no answer comes, whatever waits is cut off and gets its error, and what comes is
refused (`is_silent`) until the database answers again. Run by `app`; knows nothing of what the connections
are for.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

from curta_server import metrics, store

if TYPE_CHECKING:
    import asyncpg

log = logging.getLogger(__name__)

EVERY_S = 1.0
ANSWER_S = 1.5
"""`SELECT 1` needs no disk and no lock: a server that takes longer answers nobody."""


class Pulse:
    """One for the process; `id` ends the names of the connections that it cuts off."""

    def __init__(self, database_url: str, *, id: UUID) -> None:
        self._database_url = database_url
        self._id = str(id)
        # Not its own: that one ends by itself.
        self._name = f"curta {id} pulse"
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._is_silent = False

    def is_silent(self) -> bool:
        """Whether the database did not answer when it was asked last. False while it refuses: then it is
        there to say so itself."""
        return self._is_silent

    async def run(self) -> NoReturn:
        """Ask until cancelled."""
        try:
            while True:
                answers = await self._answers()
                # On another connection, lest the death of one be taken for the death of all.
                if not answers and not self._is_silent:
                    answers = await self._answers()
                if answers == self._is_silent:
                    self._turn(answers)
                await asyncio.sleep(EVERY_S)
        finally:
            self._drop()

    async def _answers(self) -> bool:
        asked = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._connection is None:
                    self._connection = await store.connect(
                        self._database_url, name=self._name, statement_timeout_s=ANSWER_S
                    )
                await self._connection.execute("SELECT 1")
            metrics.database_reachable.set(1)
            return True
        except TimeoutError:
            self._drop()
            metrics.database_reachable.set(0)
            # Where this process itself stood still meanwhile, nothing is known.
            return time.monotonic() - asked > 2 * ANSWER_S
        except Exception as error:
            self._drop()
            metrics.database_reachable.set(0)
            if not store.is_outage(error):
                log.error("the database is not asked: %s", error)
        return True

    def _turn(self, answers: bool) -> None:
        self._is_silent = not answers
        if answers:
            log.warning("the database answers again")
        else:
            log.warning("the database does not answer: requests are refused until it does")
            store.abandon(self._id)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

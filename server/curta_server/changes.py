"""What any orchestrator changed in the table, told to the leader as soon as a notice is heard.

Run by `app`; hears `notices`, reads the table, which is the truth, and tells the dispatcher. A notice that is
lost, or comes while the database is away, is made up for by the loader's slow poll.
"""

import asyncio
import logging
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from curta_server.feed import Feed

log = logging.getLogger(__name__)

WAITING_MAX: Final = 100_000
"""Cancellations not looked up yet; what exceeds it is found by the poll."""
LOOK_UP_IDS: Final = 1_000


class Listener(Protocol):
    """What is asked of the dispatcher."""

    @property
    def leading(self) -> bool: ...

    def cancelled(self, expression: str) -> None: ...

    def set_duration(self, operation: str, duration_ms: int) -> None: ...

    def wake_loader(self) -> None: ...


class Changes:
    """Cancellations and durations, on their way from the table to the dispatcher. `feed` knows whose ends
    somebody here waits for."""

    def __init__(self, engine: AsyncEngine, listener: Listener, feed: Feed) -> None:
        self._engine = engine
        self._listener = listener
        self._feed = feed
        self._cancelled: set[UUID] = set()
        self._are_durations_due = False
        self._wake = asyncio.Event()

    def cancelled(self, expression: str) -> None:
        """Notice: this expression was cancelled; empty after a gap, in which any may have been."""
        if not expression:
            self._listener.wake_loader()
            for watched in self._feed.watched():
                self._suspect(watched)
        elif self._listener.leading or self._feed.is_watched(expression):
            self._suspect(expression)

    def _suspect(self, expression: str) -> None:
        try:
            id = UUID(expression)
        except ValueError:
            return
        if len(self._cancelled) < WAITING_MAX:
            self._cancelled.add(id)
            self._wake.set()

    def durations(self, operation: str) -> None:
        """Notice: the duration of an operation was changed, or may have been."""
        if self._listener.leading:
            self._are_durations_due = True
            self._wake.set()

    async def run(self) -> None:
        """Look up what was heard of, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._look_up()
            except Exception as error:
                if not store.is_outage(error):
                    raise
                log.debug("changes are left to the poll, the database is away: %s", error)
                self._cancelled.clear()

    async def _look_up(self) -> None:
        if self._are_durations_due:
            self._are_durations_due = False
            async with self._engine.connect() as connection:
                rows = await store.operations(connection)
            for row in rows:
                self._listener.set_duration(row.name, row.duration_ms)
        while self._cancelled:
            some = [self._cancelled.pop() for _ in range(min(LOOK_UP_IDS, len(self._cancelled)))]
            async with self._engine.connect() as connection:
                found = await store.final_statuses(connection, some)
            for id, status in found.items():
                if status == "cancelled":
                    self._listener.cancelled(str(id))

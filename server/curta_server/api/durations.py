"""The operations' durations as planning needs them: read often, changed rarely."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from curta_server import store

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from curta_server.planning import Durations

FRESH_S: Final = 1.0
"""Another orchestrator's change is seen after so long. It only shapes plans: what a task takes is said when
it is handed out."""


class DurationCache:
    """The durations at submission, at most FRESH_S old, read by one request for all that wait."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._durations: Durations | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def current(self) -> Durations:
        """Milliseconds in the order of OPERATIONS. Raises what `is_outage` knows when they were never
        read."""
        known = self._durations
        if known is not None and (time.monotonic() - self._read_at < FRESH_S or self._reading.locked()):
            return known
        async with self._reading:
            if self._durations is None or time.monotonic() - self._read_at >= FRESH_S:
                async with self._engine.connect() as connection:
                    addition, subtraction, multiplication, division = await store.operations(connection)
                self._durations = (
                    addition.duration_ms,
                    subtraction.duration_ms,
                    multiplication.duration_ms,
                    division.duration_ms,
                )
                self._read_at = time.monotonic()
            return self._durations

    def forget(self) -> None:
        """Read again with the next request, for they were changed here."""
        self._durations = None

"""The figures for everybody who looks on: the last minutes, and the orchestrators.

Built by `peers`, used by GET /stats and by the source of the topic `stats`. The points are the leader's; a
follower keeps a copy and asks for what is new, once for all who look at about the same moment.
"""

import asyncio
import time
from collections import deque
from typing import Final, Protocol

from curta_server.history import SECONDS
from curta_server.leadership import Leader
from curta_server.line import Unanswered
from curta_server.resources import Orchestrator
from curta_server.store import OrchestratorRow
from curta_server.views import Recent, Second

FRESH_S: Final = 0.4
KEPT_S: Final = 5.0
"""While the leader does not answer, what it said last stands for so long."""


class Here(Protocol):
    """What is asked of the dispatcher."""

    def recent(self, epoch: int = 0, after_us: int = 0) -> Recent | None: ...


class There(Protocol):
    """What is asked of `following`."""

    async def recent(self, epoch: int, after_us: int) -> Recent | None: ...


class Leaders(Protocol):
    """What is asked of `leadership`."""

    @property
    def leader(self) -> Leader | None: ...


class Others(Protocol):
    """What is asked of `presence`."""

    def orchestrators(self) -> list[OrchestratorRow]: ...


class StatsBoard:
    """The figures, whoever leads."""

    def __init__(self, here: Here, there: There, leadership: Leaders, presence: Others) -> None:
        self._here = here
        self._there = there
        self._leadership = leadership
        self._presence = presence
        self._turn = asyncio.Lock()
        self._looked_s = self._seen_s = -KEPT_S
        self._epoch = 0
        self._seconds: deque[Second] = deque(maxlen=SECONDS)

    async def seconds(self) -> list[Second]:
        """The points of this term, oldest first; none where nobody leads."""
        recent = self._here.recent()
        if recent is not None:
            return recent.seconds
        async with self._turn:
            now = time.monotonic()
            if now - self._looked_s >= FRESH_S:
                await self._ask()
                self._looked_s = now
            return list(self._seconds)

    async def _ask(self) -> None:
        try:
            recent = await self._there.recent(self._epoch, self._seconds[-1].at_us if self._seconds else 0)
        except Unanswered:
            recent = None
        if recent is None:
            if time.monotonic() - self._seen_s > KEPT_S:
                self._seconds.clear()
            return
        self._seen_s = time.monotonic()
        if recent.epoch != self._epoch:
            self._epoch = recent.epoch
            self._seconds.clear()
        self._seconds.extend(recent.seconds)

    def orchestrators(self) -> list[Orchestrator]:
        """Those that are there, with the one that leads, as this one knows it; in an order that stays."""
        leader = self._leadership.leader
        return [
            Orchestrator(
                id=str(one.id),
                url=one.url,
                leads=leader is not None and leader.id == one.id,
                seen_s=round(one.seen_s, 1),
            )
            for one in self._presence.orchestrators()
        ]

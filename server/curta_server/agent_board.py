"""The agents for everybody who looks on live: looked up in this process's memory, or asked of the leader.

Built by `peers`, used by the source of the topic `agents`. Whoever looks at the same window at about the same
moment shares one look, so that many viewers cost the leader no more than one.
"""

import asyncio
import time
from typing import Final, Protocol

from curta_server.agent_pages import Looks, Place, live_page
from curta_server.line import Unanswered
from curta_server.views import AgentsView

FRESH_S: Final = 0.2
KEPT_S: Final = 5.0
"""While the leader does not answer, what it said last stands for so long."""
NOBODY: Final = AgentsView([], False)


class Here(Looks, Protocol):
    """What is asked of the dispatcher."""

    @property
    def leading(self) -> bool: ...


class There(Protocol):
    """What is asked of `following`."""

    async def agents(self, after: Place | None, limit: int) -> AgentsView: ...


class _Window:
    """One window, as it was seen last. Its lock is held by whoever looks."""

    __slots__ = ("looked_s", "seen", "seen_s", "turn")

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.looked_s = -KEPT_S
        self.seen = NOBODY
        self.seen_s = -KEPT_S


class AgentBoard:
    """The agents, whoever leads."""

    def __init__(self, here: Here, there: There) -> None:
        self._here = here
        self._there = there
        self._windows: dict[tuple[Place | None, int], _Window] = {}

    async def page(self, after: Place | None, limit: int) -> AgentsView:
        """At most `limit` agents after this place, as of a moment ago; none where nobody leads."""
        self._forget()
        window = self._windows.setdefault((after, limit), _Window())
        async with window.turn:
            now = time.monotonic()
            if now - window.looked_s >= FRESH_S:
                await self._look(window, after, limit)
                window.looked_s = now
            return window.seen

    async def _look(self, window: _Window, after: Place | None, limit: int) -> None:
        try:
            if self._here.leading:
                window.seen = await live_page(self._here, after, limit)
            else:
                window.seen = await self._there.agents(after, limit)
            window.seen_s = time.monotonic()
        except Unanswered:
            if time.monotonic() - window.seen_s > KEPT_S:
                window.seen = NOBODY

    def _forget(self) -> None:
        """Windows at which nobody looks any more."""
        now = time.monotonic()
        for key in [
            key
            for key, window in self._windows.items()
            if now - window.looked_s > KEPT_S and not window.turn.locked()
        ]:
            del self._windows[key]

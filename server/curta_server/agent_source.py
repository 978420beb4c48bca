"""What the topic `agents` shows: the page of GET /agents for the same window. Made by `live` for a room each.

The board behind it looks for all rooms at once, at the leader; here it becomes what this room's viewers may
see.
"""

import time
from typing import Final

import msgspec
from msgspec.structs import replace

from curta_server.agent_board import AgentBoard
from curta_server.api import reading
from curta_server.api.agent_views import cursor_of, place_of, shown
from curta_server.live_messages import Subscribe
from curta_server.resources import Agent
from curta_server.slices import Slices
from curta_server.sources import Items

SEEN_S: Final = 1.0
"""An agent of which nothing else changed is sent so often, for the time since it was heard grows always."""

_encoder: Final = msgspec.json.Encoder()


class AgentSource:
    """A page of the agents."""

    pace_s = 0.25
    always = True

    def __init__(self, board: AgentBoard, subscribe: Subscribe, scope: str | None) -> None:
        """Raises: Problem."""
        self._board = board
        self._scope = scope
        self._limit = subscribe.limit
        self._after = place_of(None if subscribe.cursor is None else reading.payload_of(subscribe.cursor))
        self._said: dict[str, tuple[Agent, bytes, float]] = {}
        """By id: the agent apart from when it was heard, what was said of it, and when."""

    async def items(self) -> Items:
        page = await self._board.page(self._after, self._limit)
        now = time.monotonic()
        said: dict[str, tuple[Agent, bytes, float]] = {}
        slices = Slices()
        for busy in page.agents:
            agent = shown(busy, self._scope)
            said[agent.id] = self._say(agent, now)
            await slices.turn()
        self._said = said
        return Items({id: item for id, (_, item, _) in said.items()}, cursor_of(page))

    def _say(self, agent: Agent, now: float) -> tuple[Agent, bytes, float]:
        steady = replace(agent, last_seen_s=None)
        before = self._said.get(agent.id)
        if before is not None and before[0] == steady and now - before[2] < SEEN_S:
            return before
        return steady, _encoder.encode(agent), now

"""A page of the leader's agents with what they compute, put together in slices.

Called for GET /agents, for browsers that look at the agents, and for followers that ask on behalf of theirs.
"""

import heapq
from collections.abc import Sequence
from typing import Final, Protocol

from curta_server.slices import Slices
from curta_server.views import AgentsView, AgentView, BusyAgent, RunView

Place = tuple[str, str]
"""Name and id: where an agent stands in the order."""

LIVE_TASKS_MAX: Final = 100
"""Of one agent, for whoever is told again and again."""
LIVE_PAGE_TASKS_MAX: Final = 1_500
"""Of all agents of such a page: well below 4 MiB, however long their names are."""


class Looks(Protocol):
    """What is asked of the dispatcher."""

    def agents(self) -> list[AgentView]: ...

    def runs(self, agent: str, most: int) -> list[RunView]: ...


def place(agent: AgentView) -> Place:
    return agent.name, agent.id


async def page(leader: Looks, after: Place | None, limit: int, tasks_max: int, all_max: int) -> AgentsView:
    """At most `limit` agents after this place, each with at most `tasks_max` tasks. With more than `all_max`
    tasks together the page ends early."""
    found = _next(leader.agents(), after, limit)
    slices = Slices()
    busy: list[BusyAgent] = []
    tasks = 0
    for agent in found[:limit]:
        busy.append(BusyAgent(agent, leader.runs(agent.id, tasks_max)))
        tasks += len(busy[-1].runs)
        if tasks >= all_max:
            break
        await slices.turn()
    return AgentsView(busy, len(busy) < len(found))


async def live_page(leader: Looks, after: Place | None, limit: int) -> AgentsView:
    """The same for whoever is told again and again: never shorter than it could be, but of many busy agents
    it shows a few tasks each."""
    found = _next(leader.agents(), after, limit)
    tasks_max = min(LIVE_TASKS_MAX, max(1, LIVE_PAGE_TASKS_MAX // max(1, len(found))))
    slices = Slices()
    busy: list[BusyAgent] = []
    for agent in found[:limit]:
        busy.append(BusyAgent(agent, leader.runs(agent.id, tasks_max)))
        await slices.turn()
    return AgentsView(busy, len(busy) < len(found))


def _next(agents: Sequence[AgentView], after: Place | None, limit: int) -> list[AgentView]:
    """One more than the limit, if there are so many."""
    return heapq.nsmallest(limit + 1, (a for a in agents if after is None or place(a) > after), place)

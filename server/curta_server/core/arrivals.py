"""Agents that say hello: what they say they hold is compared with what they were handed, and decided about.

A part of the scheduler with a file of its own. A hello may name tens of thousands of attempts; what was
handed out in this term is looked up at once, the rest is decided in slices, and only then is the agent
welcome and gets tasks.
"""

import itertools
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from curta_server.core.crew import Agent
from curta_server.core.events import Named, Welcomed

if TYPE_CHECKING:
    from curta_server.core.scheduler import Scheduler

BUDGET = 4_000
"""Of attempts that were not handed out in this session so many are decided about in one turn: about 20 ms."""


class Arrival:
    """One hello. `unknown` are held attempts not yet decided about."""

    __slots__ = ("agent", "drop", "keep", "session", "unknown")

    def __init__(self, agent: Agent, held: Iterable[Named]) -> None:
        self.agent = agent
        self.session = agent.session
        self.unknown = dict.fromkeys(held)
        self.keep: list[Named] = []
        self.drop: list[Named] = []


class Arrivals:
    """Those who are not welcome yet, in order."""

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._waiting: deque[Arrival] = deque()

    def __len__(self) -> int:
        """How many are not welcome yet."""
        return len(self._waiting)

    def arrived(self, agent: Agent, held: Iterable[Named]) -> None:
        """The agent's new session has begun. What it holds goes on; what it was handed and does not hold is
        ready at once."""
        agent.is_arriving = True
        for task in list(agent.undecided):
            agent.forget_undecided(task)
        arrival = Arrival(agent, held)
        for run in list(agent.runs.values()):
            named = Named(run.name, run.attempt)
            if named not in arrival.unknown:
                self._scheduler.hands.hand_back(run)
                continue
            del arrival.unknown[named]
            if run.given_up:
                agent.remove(run)
                arrival.drop.append(named)
            else:
                run.push = 0
                arrival.keep.append(named)
        if not self._decide(arrival):
            self._waiting.append(arrival)

    def go_on(self) -> None:
        """Decide about more of what waits from earlier turns."""
        if self._waiting and self._decide(self._waiting[0]):
            self._waiting.popleft()

    def _decide(self, arrival: Arrival) -> bool:
        """Up to BUDGET attempts; whether those were the last. Then the agent is welcome."""
        scheduler, agent = self._scheduler, arrival.agent
        if agent.session != arrival.session or not agent.is_connected:
            return True
        for named in list(itertools.islice(arrival.unknown, BUDGET)):
            del arrival.unknown[named]
            verdict = scheduler.hands.adopt(agent, named)
            if verdict == "keep":
                arrival.keep.append(named)
            elif verdict == "drop":
                arrival.drop.append(named)
        if arrival.unknown:
            return False
        agent.is_arriving = False
        if agent.pulls:
            agent.slots = agent.held  # it asks with `Asked`
        scheduler.commands.welcomes.append(Welcomed(agent.id, agent.session, arrival.keep, arrival.drop))
        if agent.draining:
            scheduler.commands.drains.append(agent.id)
        scheduler.place(agent)
        return True

"""The time limits of attempts: one that takes too long gets a second beside it, on another agent.

A part of the scheduler with a file of its own. The agent that is too slow may be hung or only slow, so its
attempt goes on: whichever is first counts.
"""

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from curta_server.core.crew import Agent

if TYPE_CHECKING:
    from curta_server.core.scheduler import Scheduler

ROUND_EVERY_S = 1.0
"""How often all attempts are looked at."""
LOOK_BUDGET = 50_000
"""Attempts looked at in one tick, about 5 ms, and the rest of those of the agent reached then: a round
takes as many ticks as it needs."""


class Overdue:
    """Go round among the attempts of all agents, and offer a second one of those over their limit."""

    def __init__(self, scheduler: "Scheduler", agents: Mapping[str, Agent]) -> None:
        self._scheduler = scheduler
        self._agents = agents
        self._round_s: float | None = None
        self._ahead: deque[Agent] = deque()
        """Who is still to be looked at in this round."""

    def ticked(self) -> None:
        """Go on with the round, or begin the next one in its time."""
        rules, now, ahead = self._scheduler.rules, self._scheduler.now, self._ahead
        if not ahead and (self._round_s is None or now - self._round_s >= ROUND_EVERY_S):
            self._round_s = now
            ahead.extend(self._agents.values())
        budget = LOOK_BUDGET
        while ahead and budget > 0:
            agent = ahead.popleft()
            budget -= 1 + len(agent.runs)
            for run in agent.runs.values():
                limit_s = run.duration_ms / 1000 * rules.limit_factor + rules.limit_extra_s
                if now - run.started_s > limit_s and not run.given_up:
                    self._scheduler.hands.offer_second(run)

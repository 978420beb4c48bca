"""Whom a fault meets."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.agents import Agent
from tests.simulation.network import Channel

if TYPE_CHECKING:
    from tests.simulation.history import History
    from tests.simulation.orchestrators import Orchestrator


class Victims:
    """Chosen by the history's dice."""

    def __init__(self, history: "History") -> None:
        self.history = history
        self.world = history.world
        self.is_over = False
        """Everything has healed: nobody is replaced any more."""

    def _note(self, who: str, what: str, *details: object) -> bool:
        self.world.note(who, "!", what, *details)
        return True

    def _an_orchestrator(self) -> "Orchestrator | None":
        alive = [one for one in self.history.orchestrators if one.is_alive and not one.is_ending]
        leading = [one for one in alive if one.leads]
        if leading and self.world.chance(0.6):
            return self.world.random.choice(leading)
        return self.world.random.choice(alive) if alive else None

    def _leader(self) -> "Orchestrator | None":
        return next((one for one in self.history.orchestrators if one.is_alive and one.leads), None)

    def _an_agent(self) -> Agent | None:
        alive = [agent for agent in self.history.agents if not agent.is_dead and not agent.is_frozen]
        return self.world.random.choice(alive) if alive else None

    def _a_channel(self) -> Channel | None:
        channels = [agent.channel for agent in self.history.agents if agent.channel is not None]
        return self.world.random.choice(channels) if channels else None

    def _for_a_while(self, most_s: float, undo: Callable[..., Any], *arguments: Any) -> None:
        seconds = self.world.between(0.05, 1.0) if self.world.chance(0.4) else self.world.between(0.5, most_s)
        self.world.at(seconds, undo, *arguments)

    def _replace(self) -> None:
        """Another agent will come in an agent's place."""
        self.world.at(self.world.between(0.1, 10.0), self._start_another)

    def _start_another(self) -> None:
        if not self.is_over:
            self.history.start_agent()

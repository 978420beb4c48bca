"""Acknowledgements: which agent is told, and when, that an attempt is stored for good or no longer wanted.

Owned by the scheduler. A result that is not wanted is not acknowledged before what replaces it is durable:
an agent that may forget it must not be the only one who knew it.
"""

from collections.abc import Iterable, Mapping

from curta_server.core.crew import Run
from curta_server.core.events import Commands
from curta_server.core.execution import Execution


class Acks:
    """What is owed. `commands` are the present turn's: what may be said now goes there. `executions` are the
    expressions in memory, by id."""

    def __init__(self, executions: Mapping[str, Execution]) -> None:
        self.commands = Commands()
        self._executions = executions
        self._with_row: dict[Run, dict[tuple[str, tuple[str, int]], None]] = {}
        self._with_end: dict[str, dict[tuple[str, tuple[str, int]], None]] = {}
        """Each once, however often it is repeated meanwhile."""

    def __len__(self) -> int:
        """How many wait for a row or for an end."""
        return sum(len(owed) for owed in (*self._with_row.values(), *self._with_end.values()))

    def now(self, agent: str, named: tuple[str, int]) -> None:
        acks = self.commands.acks.get(agent)
        if acks is None:
            acks = self.commands.acks[agent] = []
        acks.append(named)

    def in_time(self, execution: Execution, task: int, agent: str, named: tuple[str, int]) -> None:
        """For a result that is not wanted: when the row or the end that makes it so is durable."""
        winner = execution.uncommitted.get(task)
        if winner is not None:
            self._with_row.setdefault(winner, {})[agent, named] = None
        elif execution.ended and execution.id in self._executions:
            self.at_end(execution, agent, named)
        else:
            self.now(agent, named)

    def at_end(self, execution: Execution, agent: str, named: tuple[str, int]) -> None:
        """When the expression's end is durable."""
        self._with_end.setdefault(execution.id, {})[agent, named] = None

    def stored(self, runs: Iterable[Run]) -> None:
        """The rows are durable, or needed no more."""
        acks = self.commands.acks
        for run in runs:
            agent = run.agent.id
            owed = acks.get(agent)
            if owed is None:
                owed = acks[agent] = []
            owed.append((run.name, run.attempt))
            if self._with_row:
                for other, named in self._with_row.pop(run, ()):
                    self.now(other, named)

    def dropped(self, execution: Execution) -> None:
        """The expression is final and durable, and so is the end of its open tasks."""
        self.stored(execution.uncommitted.values())
        execution.uncommitted.clear()
        for agent, named in self._with_end.pop(execution.id, ()):
            self.now(agent, named)

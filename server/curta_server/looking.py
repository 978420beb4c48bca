"""The half of the dispatcher that only looks: the leader's memory as views for people, metrics and routes.

Nothing here changes anything or waits, so it may be called between any two turns.
"""

import itertools
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from curta_server.core.crew import Agent, Run
from curta_server.core.execution import COMMITTED, DONE, READY, RUNNING, UNNEEDED, WAITING, Execution
from curta_server.core.hands import split
from curta_server.core.plan import Plan
from curta_server.resources import CUT
from curta_server.views import (
    AgentView,
    PassedOnTask,
    PassedOnView,
    Progress,
    Recent,
    RunView,
    Stats,
    TaskState,
)
from curta_wire import numbers
from curta_wire.frames import OPERATIONS

if TYPE_CHECKING:
    from curta_server.dispatcher import Term
    from curta_server.roster import Roster

_SHOWN = {
    UNNEEDED: "waiting",
    WAITING: "waiting",
    READY: "ready",
    RUNNING: "running",
    DONE: "running",
    COMMITTED: "done",
}
"""A value that is not durable yet is not shown: persist, then tell."""


LONG_DIGITS = 1_000

START_WRITTEN_S = 10.0
"""The table tells of a start with the commit after the next tick. While a commit takes longer than this, the
table answers nobody."""

STATS_FRESH_S = 1.0
"""Figures are summed up over all expressions and agents at most so often: anybody may ask for them."""


def operand(execution: Execution, reference: int) -> str:
    """A wire number: a task's value, or a literal of the text, with the reference's sign."""
    if reference >= 0:
        value = execution.values[reference >> 1]
        assert value is not None, "an operand is kept until its users are committed"
        return _negated(execution, reference >> 1, value) if reference & 1 else value
    value = numbers.from_literal(execution.plan.literal(reference))
    return numbers.negate(value) if ~reference & 1 else value


def _negated(execution: Execution, task: int, value: str) -> str:
    """The value with the other sign. A long one is made once: thousands of tasks may use it."""
    if len(value) < LONG_DIGITS:
        return numbers.negate(value)
    if task not in execution.negated:
        execution.negated[task] = numbers.negate(value)
    return execution.negated[task]


class Looking(ABC):
    """What may be asked of a dispatcher. While it does not lead it knows nothing: None, or empty."""

    roster: "Roster"
    _stats: tuple[float, Stats] | None = None

    @property
    @abstractmethod
    def term(self) -> "Term | None":
        """The term, while this orchestrator leads."""

    @abstractmethod
    def us(self, monotonic_s: float) -> int:
        """A monotonic moment in microseconds of the database's clock."""

    @property
    @abstractmethod
    def leading(self) -> bool: ...

    def _execution(self, expression: str) -> Execution | None:
        return self.term.scheduler.executions.get(expression) if self.term is not None else None

    def plan(self, expression: str) -> Plan | None:
        execution = self._execution(expression)
        return execution.plan if execution is not None else None

    def progress(self, expression: str) -> Progress | None:
        """How far an expression in memory is; None where it is not there."""
        execution = self._execution(expression)
        if execution is None or self.term is None:
            return None
        running = execution.held
        eta_s = execution.remaining_ms() / 1000 / running if running else None
        return Progress(
            status="running" if execution.started else "queued",
            done=execution.committed,
            running=running,
            eta_s=eta_s,
            waiting_for=self.term.scheduler.waiting_for(execution),
            started_at_us=None if execution.started_s is None else self.us(execution.started_s),
        )

    def started(self) -> list[str]:
        """The expressions that run, and whose rows may not say so yet."""
        if self.term is None:
            return []
        since_s = time.monotonic() - START_WRITTEN_S
        executions = self.term.scheduler.executions.values()
        return [one.id for one in executions if one.started_s is not None and one.started_s > since_s]

    def task_states(self, expression: str, tasks: Sequence[int]) -> dict[int, TaskState] | None:
        """The states of these tasks; None where the expression is not in memory."""
        execution = self._execution(expression)
        if execution is None:
            return None
        return {task: self._task_state(execution, task) for task in tasks}

    def _task_state(self, execution: Execution, task: int) -> TaskState:
        state = _SHOWN[execution.state[task]]
        run = execution.runs.get(task) or execution.uncommitted.get(task)
        if run is None:
            return TaskState(state)
        return TaskState(
            state, run.attempt, run.agent.id, self.roster.name(run.agent.id), self.us(run.started_s)
        )

    def agents(self) -> list[AgentView]:
        """Connected, draining and recently lost agents. What each computes is asked for by itself (`runs`):
        all of it together would be too much at once."""
        if self.term is None:
            return []
        return [self._agent(agent) for agent in self.term.scheduler.crew.agents.values()]

    def runs(self, agent: str, most: int) -> list[RunView]:
        """What the agent computes now, at most so many of its tasks."""
        found = self.term.scheduler.crew.agents.get(agent) if self.term is not None else None
        if found is None:
            return []
        running = (run for run in found.runs.values() if not run.given_up)
        return [self._run(run) for run in itertools.islice(running, most)]

    def _agent(self, agent: Agent) -> AgentView:
        assert self.term is not None
        guest = self.roster.guest(agent.id)
        status = "lost" if agent.is_lost else "draining" if agent.draining else "connected"
        return AgentView(
            id=agent.id,
            name=guest.name if guest is not None else "",
            slots=guest.slots if guest is not None else agent.slots,
            # One that is lost since before this term has said nothing to the scheduler.
            operations=guest.operations
            if guest is not None
            else tuple(
                name for operation, name in enumerate(OPERATIONS) if agent.operations >> operation & 1
            ),
            status=status,
            connected_at_us=guest.connected_us if guest is not None else 0,
            last_seen_s=max(0.0, self.term.scheduler.crew.lease_time_at(time.monotonic()) - agent.heard_s),
            running=sum(not run.given_up for run in agent.runs.values()),
            passed_on=self._passed_on(agent) if agent.is_lost else None,
        )

    def _passed_on(self, agent: Agent) -> PassedOnView:
        tasks = tuple(
            PassedOnTask(name, split(name)[0], owner, self._fate(name))
            for name, owner in agent.passed_on.items()
        )
        counts = Counter(task.state for task in tasks)
        return PassedOnView(
            agent.passed_on_count, counts["waiting"], counts["running"], counts["done"], tasks
        )

    def _fate(self, name: str) -> str:
        """Whether the task still waits, runs again, or is done with."""
        expression, task = split(name)
        execution = self._execution(expression)
        if execution is None or execution.ended or execution.state[task] >= DONE:
            return "done"
        return "running" if execution.state[task] == RUNNING else "waiting"

    def _run(self, run: Run) -> RunView:
        execution = run.execution
        plan, task = execution.plan, run.task
        return RunView(
            run.name,
            execution.id,
            execution.user.name,
            OPERATIONS[plan.operations[task]],
            (self._operand(execution, plan.left[task]), self._operand(execution, plan.right[task])),
            self.us(run.started_s),
            run.duration_ms,
        )

    def _operand(self, execution: Execution, reference: int) -> str:
        # An adopted attempt may run before its operands are known again (see the design on recovery).
        if reference >= 0 and execution.values[reference >> 1] is None:
            return "?"
        return operand(execution, reference)[: CUT + 1]

    def recent(self, epoch: int = 0, after_us: int = 0) -> Recent | None:
        """The last seconds; of the term `epoch` those after `after_us`. None while nobody leads here."""
        term = self.term
        if term is None:
            return None
        return Recent(term.epoch, term.history.after(after_us if epoch == term.epoch else 0))

    def stats(self) -> Stats:
        """Figures for the metrics, at most STATS_FRESH_S old."""
        now = time.monotonic()
        if (
            self._stats is None
            or now - self._stats[0] > STATS_FRESH_S
            or self._stats[1].leading != self.leading
        ):
            self._stats = now, self._sum_up()
        return self._stats[1]

    def _sum_up(self) -> Stats:
        tasks: Counter[str] = Counter(dict.fromkeys(("waiting", "ready", "running", "done"), 0))
        agents: Counter[str] = Counter(dict.fromkeys(("connected", "draining", "lost"), 0))
        if self.term is None:
            return Stats(False, dict(tasks), dict(agents), 0, 0, 0, 0)
        scheduler = self.term.scheduler
        for execution in scheduler.executions.values():
            for state, shown in _SHOWN.items():
                tasks[shown] += execution.state.count(state)
        total = used = 0
        for agent in scheduler.crew.agents.values():
            agents["lost" if agent.is_lost else "draining" if agent.draining else "connected"] += 1
            if not agent.is_lost:
                total += agent.slots
                used += agent.held
        return Stats(
            self.leading, dict(tasks), dict(agents), total, used, len(scheduler.executions),
            self.term.journal.backlog,
        )  # fmt: skip

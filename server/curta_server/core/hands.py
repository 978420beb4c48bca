"""Which attempts are in whose hands: handed out, taken up by an agent that comes back, lost, given up.

A part of the scheduler with a file of its own. A task has at most two attempts at once: the first in
`execution.runs`, one beside it in `execution.twins`. Attempts that ended without an answer are remembered in
`execution.former`, for their agent may come back with them.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from curta_server.core.acks import Acks
from curta_server.core.allocation import Allocation
from curta_server.core.crew import Agent, Run
from curta_server.core.events import Error, Named
from curta_server.core.execution import DONE, RUNNING, Execution
from curta_server.core.wording import describe

if TYPE_CHECKING:
    from curta_server.core.scheduler import Scheduler

ASK_BUDGET = 1_000
"""Operands looked at when a task is ready again of which nobody knew that they are needed; the rest follows
in the next turns."""


class Hands:
    """The attempts of one epoch, and how they come and go."""

    def __init__(self, scheduler: "Scheduler", allocation: Allocation, acks: Acks) -> None:
        self._scheduler = scheduler
        self._allocation = allocation
        self._acks = acks
        self._epoch = scheduler.epoch

    # --- handed out -------------------------------------------------------------------------------

    def hand_out(self, execution: Execution, tasks: Sequence[int], agent: Agent) -> None:
        """Ready tasks go to the agent with the next push."""
        scheduler = self._scheduler
        pushes = scheduler.commands.pushes.get(agent.id)
        if pushes is None:
            pushes = scheduler.commands.pushes[agent.id] = []
            agent.pushes += 1
            agent.unseen.append((agent.pushes, scheduler.crew.lease_time))
        push, now, durations_ms = agent.pushes, scheduler.now, scheduler.durations_ms
        operations, state, runs = execution.plan.operations, execution.state, execution.runs
        attempts, first = execution.attempts, self._epoch << 20 | 1
        for task in tasks:
            name = execution.name(task)
            attempt = execution.next_attempt(task, self._epoch) if task in attempts else first
            run = Run(execution, task, name, attempt, agent, push, durations_ms[operations[task]], now)
            if execution.started and task not in runs and name not in agent.runs:
                # Nearly always: what `_put` comes to then.
                state[task] = RUNNING
                runs[task] = agent.runs[name] = run
                agent.held += 1
            else:
                self._put(run)
            pushes.append(run)
        if agent.pulls:
            for run in pushes[-len(tasks) :]:
                run.leased_s = scheduler.crew.lease_time
        execution.held += len(tasks)
        execution.user.held += len(tasks)

    def _put(self, run: Run) -> None:
        """The agent computes the attempt from now on, beside another one if there is one."""
        execution, task = run.execution, run.task
        run.agent.add(run)
        if task in execution.runs:
            execution.seconds.discard(task)
            execution.count_attempt(task, run.attempt, self._epoch)
            execution.twins[task] = run
        else:
            execution.state[task] = RUNNING
            execution.runs[task] = run
        if not execution.started:
            execution.started = True
            execution.started_s = self._scheduler.now
            self._scheduler.commands.started.append(execution)

    def offer_second(self, run: Run) -> None:
        """The attempt takes too long: one more beside it, on another agent."""
        execution, task = run.execution, run.task
        if execution.ended or task in execution.twins or task in execution.seconds:
            return
        missing = execution.missing_operands(task)
        if missing:
            # Held since before a restart, and what it needs was never stored: that comes first.
            self._offer(execution, *execution.ask_for(missing, ASK_BUDGET))
            return
        execution.count_attempt(task, run.attempt, self._epoch)
        execution.seconds.add(task)
        self.avoid(run)
        self._allocation.offer(execution, (task,))

    def avoid(self, run: Run) -> None:
        """The task goes to another agent, if one can take it now or soon."""
        avoided = run.execution.avoided.setdefault(run.task, {})
        avoided[run.agent.id] = self._scheduler.now + self._scheduler.rules.avoid_s

    def _offer(self, execution: Execution, tasks: Iterable[int], is_more: bool) -> None:
        self._allocation.offer(execution, tasks)
        if is_more:
            self._scheduler.go_on(execution)

    # --- taken up ---------------------------------------------------------------------------------

    def adopt(self, agent: Agent, named: Named) -> str:
        """An agent says that it holds this attempt: "keep", "drop", or "undecided" while the expression is
        not here.

        An open task's attempt is kept even if a newer one runs (at most two), so that a blip never restarts
        an hour's work. Within this epoch only attempts that were handed to this very agent count.
        """
        scheduler = self._scheduler
        expression, task = split(named.task)
        execution = scheduler.executions.get(expression)
        if execution is None and named.attempt >> 20 == self._epoch:
            return "drop"  # what this term handed out is in memory until it is final
        if execution is None:
            agent.keep_undecided(named.task, named.attempt)
            scheduler.commands.unknown.add(expression)
            return "undecided"
        if not 0 <= task < len(execution.plan):
            return "drop"
        if named.task in agent.runs:
            return "drop"  # a newer attempt is in its hands
        winner = execution.uncommitted.get(task)
        if winner is not None and winner.agent.id == agent.id and winner.attempt == named.attempt:
            return "keep"  # its result is here and waits for the commit: the ack will come
        if execution.ended or execution.state[task] >= DONE or task in execution.twins:
            return "drop"
        if not self.was_handed(execution, task, named.attempt, agent.id):
            return "drop"
        run = Run(
            execution, task, named.task, named.attempt, agent, agent.pushes,
            scheduler.durations_ms[execution.plan.operations[task]], scheduler.now,
        )  # fmt: skip
        run.leased_s = scheduler.crew.lease_time
        self.forget_former(execution, task, named.attempt)
        if execution.losses.get(task, 0):
            execution.losses[task] -= 1
            if execution.failures.get(task, 0) < scheduler.rules.failures_max:
                execution.verdicts.pop(task, None)
        execution.count_attempt(task, named.attempt, self._epoch)
        self._put(run)
        execution.held += 1
        execution.user.held += 1
        return "keep"

    def was_handed(self, execution: Execution, task: int, attempt: int, agent: str) -> bool:
        """Whether the attempt, which is in nobody's hands, was this agent's; of earlier epochs every agent is
        believed, as to a failure once."""
        epoch = attempt >> 20
        if epoch == self._epoch:
            return execution.former.get(task, {}).get(attempt) == agent
        return 0 < epoch < self._epoch and attempt not in execution.answered.get(task, ())

    def forget_former(self, execution: Execution, task: int, attempt: int) -> None:
        """The attempt is in somebody's hands again, or answered."""
        former = execution.former.get(task)
        if former is not None:
            former.pop(attempt, None)
            if not former:
                del execution.former[task]

    def note_answer(self, execution: Execution, task: int, attempt: int, agent: Agent) -> None:
        """The attempt has its answer, and it is no value that counts: its agent may repeat it."""
        execution.answered.setdefault(task, {})[attempt] = agent.id

    def _remember(self, run: Run) -> None:
        """The attempt ended without an answer: its agent may still come back with it."""
        execution, task = run.execution, run.task
        execution.count_attempt(task, run.attempt, self._epoch)
        execution.former.setdefault(task, {})[run.attempt] = run.agent.id

    # --- out of hands -----------------------------------------------------------------------------

    def lose(self, run: Run) -> None:
        """The attempt's agent is gone: the task is ready again. Lost once too often it fails the expression,
        unless another attempt still runs, which may succeed."""
        execution, task = run.execution, run.task
        run.agent.remove(run)
        if run.given_up:
            return
        self.detach(run)
        self._remember(run)
        losses = execution.losses[task] = execution.losses.get(task, 0) + 1
        if losses >= self._scheduler.rules.losses_max:
            execution.verdicts[task] = f"{describe(run)} was lost with {losses} agents that never came back"
        self.requeue(run)

    def hand_back(self, run: Run) -> None:
        """The agent does not hold the attempt (any more), without anybody's fault."""
        run.agent.remove(run)
        if not run.given_up:
            self.detach(run)
            self._remember(run)
            self.requeue(run)

    def requeue(self, run: Run) -> None:
        """Make the task ready again, unless somebody else computes it, nobody needs it, or it failed for
        good."""
        execution, task = run.execution, run.task
        if execution.ended or task in execution.runs:
            return
        if task in execution.verdicts:
            self._scheduler.fail(execution, Error("agents_failed", execution.verdicts[task], run.name))
        else:
            self._offer(execution, *execution.reopen(task, ASK_BUDGET))

    def detach(self, run: Run) -> None:
        """The run no longer counts for its expression; a twin takes its place."""
        execution, task = run.execution, run.task
        execution.held -= 1
        execution.user.held -= 1
        self._scheduler.touched[execution] = None
        runs, twins = execution.runs, execution.twins
        if runs.get(task) is not run:
            if twins.get(task) is run:
                del twins[task]
        elif task in twins:
            runs[task] = twins.pop(task)
        else:
            del runs[task]
            execution.seconds.discard(task)

    def give_up(self, run: Run) -> None:
        """Nobody wants the attempt: the agent is told, and its slot is taken until it answers."""
        self.detach(run)
        run.given_up = True
        self._scheduler.commands.cancels.setdefault(run.agent.id, []).append(Named(run.name, run.attempt))


def split(name: str) -> tuple[str, int]:
    """A task's name into expression and number; the number is -1 where the name is none of ours."""
    expression, _, task = name.rpartition(".")
    if not task.isascii() or not task.isdigit() or len(task) > 9 or (task[0] == "0" and task != "0"):
        return expression, -1
    return expression, int(task)

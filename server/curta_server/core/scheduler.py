"""The scheduler: events in, commands out, in batches. It decides everything and does nothing.

One owner (the dispatcher) calls `handle`; there is no clock here (`now` is the caller's monotonic time in
seconds), no I/O and no waiting. Lateness, duplicates and lost agents are one idea, the attempt number: what
is known about an attempt is its `Run`, in the hands of one agent. Who comes next is `allocation`'s; who is
still there is `liveness`'s.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curta_server.core.allocation import Allocation, User
from curta_server.core.crew import Agent, Run
from curta_server.core.early import EarlyAnswers
from curta_server.core.events import (
    Absent,
    Answer,
    Answered,
    Asked,
    Beaten,
    Blocked,
    Cancelled,
    Commands,
    Drained,
    DurationSet,
    Error,
    Event,
    Final,
    Joined,
    Left,
    Loaded,
    Named,
    Removed,
    Renewed,
    Stored,
    Ticked,
)  # fmt: skip
from curta_server.core.execution import COMMITTED, DONE, RUNNING, Execution
from curta_server.core.liveness import Liveness
from curta_server.core.wording import describe, negate

OPERATION_NAMES = ("addition", "subtraction", "multiplication", "division")
ADVANCE_BUDGET = 4_000
"""Tasks looked at in one call while a large expression starts: about 10 ms with handing them out."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The scheduler's numbers; each is a setting of the server, explained there."""

    lease_s: float = 10.0
    grace_s: float = 5.0
    pull_lease_s: float = 60.0
    limit_factor: float = 2.0
    limit_extra_s: float = 30.0
    failures_max: int = 3
    losses_max: int = 5
    values_bytes_max: int = 256 * 1024 * 1024
    recovery_quiet_s: float = 5.0
    recovery_max_s: float = 60.0
    forget_s: float = 3600.0
    """How long a lost agent stays visible."""
    early_bytes_max: int = 64 * 1024 * 1024
    """Of results for expressions that are not in memory yet."""


class Scheduler:
    """Decide which agent computes which task, within one epoch.

    `expected` are the agents that were connected when the last epoch ended: recovered tasks wait for them a
    while.
    """

    def __init__(
        self,
        epoch: int,
        rules: Rules,
        durations_ms: Sequence[int],
        *,
        expected: Iterable[str] = (),
        now: float = 0.0,
    ) -> None:
        self.epoch = epoch
        self.rules = rules
        self.durations_ms = list(durations_ms)
        self.executions: dict[str, Execution] = {}
        self.users: dict[str, User] = {}
        self.crew = Liveness(rules, self, expected=expected, now=now)
        self._allocation = Allocation()
        self._advancing: deque[Execution] = deque()
        self._late_acks: dict[Run, list[tuple[str, Named]]] = {}
        self._end_acks: dict[str, list[tuple[str, Named]]] = {}
        self.early = EarlyAnswers(rules.early_bytes_max)
        self._blocked = False
        self._touched: set[Execution] = set()
        self._offer: tuple[bool, int | None] | None = None
        """What `crew.offer` says, if anybody asked since the last turn."""
        self.now = now
        self.commands = Commands()

    def handle(self, events: Sequence[Event], now: float) -> Commands:
        """Take in what happened, in order, and say what shall be done. Cost: proportional to what the events
        name."""
        self.now = now
        self._offer = None
        self.commands = commands = Commands()
        for event in events:
            self._take(event)
        budget = ADVANCE_BUDGET
        while self._advancing and budget > 0:
            budget -= self._advance(self._advancing.popleft(), budget)
        commands.again = bool(self._advancing)
        for execution in self._touched:
            if not execution.ended:
                self._allocation.show(execution)
            self._allocation.show_user(execution.user)
        self._touched.clear()
        if not self._blocked:
            self._allocation.assign(self._hand_out, self._all_agents)
        return commands

    def _take(self, event: Event) -> None:
        match event:
            case Answered():
                self._answered(event)
            case Stored():
                self._stored(event)
            case Beaten():
                self.crew.beaten(event)
            case Loaded():
                self._loaded(event)
            case Cancelled(expression):
                if expression in self.executions:
                    self.drop(self.executions[expression])
                else:
                    self._absent(expression)
            case Absent(expression):
                self._absent(expression)
            case Joined():
                self.crew.joined(event)
            case Asked():
                self.crew.asked(event)
            case Renewed():
                self.crew.renewed(event)
            case Left():
                self.crew.left(event)
            case Drained(agent):
                self.crew.drained(agent)
            case Removed():
                self.crew.removed(event)
            case DurationSet(operation, duration_ms):
                self.durations_ms[operation] = duration_ms
            case Blocked(blocked):
                self._blocked = blocked
            case Ticked(late_s):
                self.crew.ticked(late_s)
                self._allocation.retry_parked()

    # --- expressions come and go ------------------------------------------------------------------

    def _loaded(self, event: Loaded) -> None:
        execution = event.execution
        if execution.id in self.executions:
            return
        user = self.users.get(event.user)
        if user is None:
            user = self.users[event.user] = User(event.user)
        user.loaded += 1
        execution.user = user
        self.executions[execution.id] = execution
        if execution.state[execution.root] == COMMITTED:
            self._finish(execution)
        execution.is_gated = event.gated and self.crew.gate_is_closed
        for agent, answer in self.early.take(execution.id):
            if agent in self.crew.agents:
                self._late_answer(self.crew.agents[agent], answer)
                self._allocation.place(self.crew.agents[agent])
        self.crew.adopt_undecided(execution)
        if not execution.is_gated and not execution.ended:
            self._advancing.append(execution)

    def open_gate(self) -> None:
        """The agents had time to come back: recovered expressions go on."""
        for execution in self.executions.values():
            if execution.is_gated:
                execution.is_gated = False
                self._allocation.show(execution)
                self._advancing.append(execution)

    def _advance(self, execution: Execution, budget: int) -> int:
        """Let a new expression's ready tasks be found, up to the budget: what it cost."""
        if execution.ended or execution.id not in self.executions:
            return 1
        ready, more = execution.advance(budget)
        for task in ready:
            self._allocation.offer(execution, task)
        if more:
            self._advancing.append(execution)
            return budget
        return 1 + len(ready)

    def _finish(self, execution: Execution) -> None:
        """The root has its value: with the root's row, or by it (a recovery), the expression is done."""
        value = execution.values[execution.root]
        assert value is not None
        self._end(execution, Final(execution.id, negate(value) if execution.plan.root & 1 else value, None))

    def fail(self, execution: Execution, error: Error) -> None:
        """The expression ends with this error, unless it is ending already."""
        if not execution.ended:
            self._end(execution, Final(execution.id, None, error))

    def _end(self, execution: Execution, final: Final) -> None:
        execution.ended = True
        self.commands.finals.append(final)
        self._allocation.hide(execution)

    def drop(self, execution: Execution) -> None:
        """The expression is final, for good: forget it, and stop what still computes it."""
        execution.ended = True
        self._allocation.hide(execution)
        for run in [*execution.runs.values(), *execution.twins.values()]:
            self.give_up(run)
        for run in execution.uncommitted.values():
            for agent, named in [(run.agent.id, Named(run.name, run.attempt)), *self._late_acks.pop(run, ())]:
                self._ack(agent, named)
        execution.uncommitted.clear()
        for agent, named in self._end_acks.pop(execution.id, ()):
            self._ack(agent, named)
        del self.executions[execution.id]
        execution.user.loaded -= 1
        if not execution.user.loaded:
            del self.users[execution.user.name]
        self.commands.dropped.append(execution.id)

    def _absent(self, expression: str) -> None:
        if expression not in self.executions:
            self.crew.cancel_undecided(expression)
            for agent, answer in self.early.take(expression):
                self._ack(agent, Named(answer.task, answer.attempt))

    # --- handing out ------------------------------------------------------------------------------

    def _all_agents(self) -> Iterable[Agent]:
        return self.crew.agents.values()

    def _hand_out(self, execution: Execution, task: int, agent: Agent) -> None:
        attempt = execution.next_attempt(task, self.epoch)
        pushes = self.commands.pushes.get(agent.id)
        if pushes is None:
            pushes = self.commands.pushes[agent.id] = []
            agent.pushes += 1
            agent.unseen.append((agent.pushes, self.crew.lease_time))
        duration_ms = self.durations_ms[execution.plan.operations[task]]
        run = Run(execution, task, execution.name(task), attempt, agent, agent.pushes, duration_ms, self.now)
        if agent.pulls:
            run.leased_s = self.crew.lease_time
        self._put_in_hand(run)
        pushes.append(run)

    def _put_in_hand(self, run: Run) -> None:
        """The agent computes the attempt from now on, beside another one if there is one."""
        execution, task = run.execution, run.task
        run.agent.add(run)
        if task in execution.runs:
            execution.seconds.discard(task)
            execution.count_attempt(task, run.attempt, self.epoch)
            execution.twins[task] = run
        else:
            execution.state[task] = RUNNING
            execution.runs[task] = run
        if not execution.started:
            execution.started = True
            execution.started_s = self.now
            self.commands.started.append(execution)

    def offer_second(self, run: Run) -> None:
        """The attempt takes too long: one more beside it, on another agent."""
        execution, task = run.execution, run.task
        if execution.ended or task in execution.twins or task in execution.seconds:
            return
        missing = execution.missing_operands(task)
        if missing:
            # Held since before a restart, and what it needs was never stored: that comes first.
            for ready in execution.ask_for(missing):
                self._allocation.offer(execution, ready)
            return
        execution.count_attempt(task, run.attempt, self.epoch)
        execution.seconds.add(task)
        execution.avoided.setdefault(task, set()).add(run.agent.id)
        self._allocation.offer(execution, task)

    def adopt(self, agent: Agent, named: Named) -> str:
        """An agent says that it holds this attempt: "keep", "drop", or "undecided" while the expression is
        not here.

        An open task's attempt is kept even if a newer one runs (at most two), so that a blip never restarts
        an hour's work. Within this epoch only attempts that were handed to this very agent count.
        """
        expression, task = split(named.task)
        execution = self.executions.get(expression)
        if execution is None and named.attempt >> 20 == self.epoch:
            return "drop"  # what this term handed out is in memory until it is final
        if execution is None:
            agent.keep_undecided(named.task, named.attempt)
            self.commands.unknown.add(expression)
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
        if not self._was_handed(execution, task, named.attempt, agent.id):
            return "drop"
        run = Run(
            execution, task, named.task, named.attempt, agent, agent.pushes,
            self.durations_ms[execution.plan.operations[task]], self.now,
        )  # fmt: skip
        run.leased_s = self.crew.lease_time
        self._forget_former(execution, task, named.attempt)
        if execution.losses.get(task, 0):
            execution.losses[task] -= 1
        execution.count_attempt(task, named.attempt, self.epoch)
        self._put_in_hand(run)
        execution.held += 1
        execution.user.held += 1
        return "keep"

    def _was_handed(self, execution: Execution, task: int, attempt: int, agent: str) -> bool:
        epoch = attempt >> 20
        if epoch == self.epoch:
            return execution.former.get(task, {}).get(attempt) == agent
        return 0 < epoch < self.epoch

    def knows_attempt(self, agent_id: str, name: str, attempt: int) -> bool | None:
        """Whether this attempt is or was in the agent's hands; None where the task is not in memory."""
        agent = self.crew.agents.get(agent_id)
        if agent is not None and name in agent.runs and agent.runs[name].attempt == attempt:
            return True
        expression, task = split(name)
        execution = self.executions.get(expression)
        if execution is None or not 0 <= task < len(execution.plan):
            return None
        winner = execution.uncommitted.get(task)
        if winner is not None and winner.agent.id == agent_id and winner.attempt == attempt:
            return True
        return self._was_handed(execution, task, attempt, agent_id)

    # --- results ----------------------------------------------------------------------------------

    def _answered(self, event: Answered) -> None:
        agent = self.crew.speaking(event.agent, event.session)
        if agent is None:
            return
        runs = agent.runs
        for answer in event.answers:
            run = runs.get(answer.task)
            if run is not None and run.attempt == answer.attempt:
                agent.remove(run)
                self._conclude(run, answer)
            else:
                self._late_answer(agent, answer)
        self._allocation.place(agent)

    def _late_answer(self, agent: Agent, answer: Answer) -> None:
        """A result for nothing in the agent's hands: late, repeated, of an earlier epoch, or invented."""
        named = Named(answer.task, answer.attempt)
        expression, task = split(answer.task)
        execution = self.executions.get(expression)
        if agent.undecided.get(answer.task) == answer.attempt:
            agent.forget_undecided(answer.task)
        if execution is None and answer.attempt >> 20 == self.epoch:
            self._ack(agent.id, named)
        elif execution is None:
            self._remember_early(expression, agent, answer)
        elif not 0 <= task < len(execution.plan):
            self._ack(agent.id, named)
        elif (
            execution.ended
            or execution.state[task] >= DONE
            or not self._was_handed(execution, task, answer.attempt, agent.id)
        ):
            self._ack_in_time(execution, task, agent.id, named)
        else:
            self._forget_former(execution, task, answer.attempt)
            run = Run(execution, task, answer.task, answer.attempt, agent, 0, 0, self.now)
            execution.held += 1  # `_conclude` gives it back
            execution.user.held += 1
            self._conclude(run, answer)

    def _forget_former(self, execution: Execution, task: int, attempt: int) -> None:
        former = execution.former.get(task)
        if former is not None:
            former.pop(attempt, None)
            if not former:
                del execution.former[task]

    def _remember_early(self, expression: str, agent: Agent, answer: Answer) -> None:
        if self.early.remember(expression, agent.id, answer):
            self.commands.unknown.add(expression)
        else:
            self.crew.close(agent, 1013, "too many results for expressions that are not loaded yet")

    def _conclude(self, run: Run, answer: Answer) -> None:
        """An attempt that was in the agent's hands has its answer."""
        execution, task = run.execution, run.task
        if run.given_up:
            self._ack_in_time(execution, task, run.agent.id, Named(run.name, run.attempt))
            return
        self.detach(run)
        if not answer.error and not execution.ended and execution.state[task] < DONE:
            run.value = answer.value
            run.finished_s = self.now
            self._settle(run)
            return
        named = Named(run.name, run.attempt)
        if execution.ended or execution.state[task] >= DONE:
            self._ack_in_time(execution, task, run.agent.id, named)
        elif answer.error == "division_by_zero":
            run.finished_s = self.now
            self._settle(run)
        elif answer.error == "too_large":
            self._end_acks.setdefault(execution.id, []).append((run.agent.id, named))
            why = f": {answer.message}" if answer.message else ""
            self.fail(execution, Error("too_large", f"{describe(run)} is too large{why}", run.name))
        else:
            self._ack(run.agent.id, named)
            self._failed(run, answer)

    def _settle(self, run: Run) -> None:
        execution, task = run.execution, run.task
        execution.uncommitted[task] = run
        if execution.runs or execution.twins:
            for other in (execution.runs.get(task), execution.twins.get(task)):
                if other is not None:
                    self.give_up(other)
        self.commands.journal.append(run)
        for released in execution.settle(task, run.value):
            self._allocation.offer(execution, released)
        if run.value is None:
            self.fail(execution, Error("division_by_zero", f"{describe(run)} divides by zero", run.name))
        elif task == execution.root:
            self._finish(execution)
        elif execution.values_bytes > self.rules.values_bytes_max:
            limit = f"the values of one expression may have {self.rules.values_bytes_max} bytes together"
            self.fail(execution, Error("too_large", f"{limit}, and {describe(run)} exceeds that", run.name))

    def _failed(self, run: Run, answer: Answer) -> None:
        execution, task = run.execution, run.task
        execution.count_attempt(task, run.attempt, self.epoch)
        execution.avoided.setdefault(task, set()).add(run.agent.id)
        failures = execution.failures[task] = execution.failures.get(task, 0) + 1
        if failures >= self.rules.failures_max:
            why = f"{answer.error}: {answer.message}" if answer.message else str(answer.error)
            message = f"{describe(run)} failed on agents {failures} times, at last with {why}"
            self.fail(execution, Error("agents_failed", message, run.name))
        else:
            self.requeue(run)

    def lose(self, run: Run) -> None:
        """The attempt's agent is gone: the task is ready again, or has been lost too often."""
        execution, task = run.execution, run.task
        run.agent.remove(run)
        if run.given_up:
            return
        self.detach(run)
        self._remember(run)
        losses = execution.losses[task] = execution.losses.get(task, 0) + 1
        if losses >= self.rules.losses_max and not execution.ended:
            message = f"{describe(run)} was lost with {losses} agents that never came back"
            self.fail(execution, Error("agents_failed", message, run.name))
        else:
            self.requeue(run)

    def hand_back(self, run: Run) -> None:
        """The agent does not hold the attempt (any more), without anybody's fault."""
        run.agent.remove(run)
        if not run.given_up:
            self.detach(run)
            self._remember(run)
            self.requeue(run)

    def _remember(self, run: Run) -> None:
        """The attempt ended without an answer: its agent may still come back with it."""
        execution, task = run.execution, run.task
        execution.count_attempt(task, run.attempt, self.epoch)
        execution.former.setdefault(task, {})[run.attempt] = run.agent.id

    def requeue(self, run: Run) -> None:
        """Make the task ready again, unless somebody else computes it or nobody needs it."""
        execution, task = run.execution, run.task
        if execution.ended or task in execution.runs:
            return
        for ready in execution.reopen(task):
            self._allocation.offer(execution, ready)

    def detach(self, run: Run) -> None:
        """The run no longer counts for its expression; a twin takes its place."""
        execution, task = run.execution, run.task
        execution.held -= 1
        execution.user.held -= 1
        self._touched.add(execution)
        if execution.runs.get(task) is run:
            twin = execution.twins.pop(task, None) if execution.twins else None
            if twin is None:
                del execution.runs[task]
                execution.seconds.discard(task)
            else:
                execution.runs[task] = twin
        elif execution.twins.get(task) is run:
            del execution.twins[task]

    def give_up(self, run: Run) -> None:
        """Nobody wants the attempt: the agent is told, and its slot is taken until it answers."""
        self.detach(run)
        run.given_up = True
        self.commands.cancels.setdefault(run.agent.id, []).append(Named(run.name, run.attempt))

    # --- durable ----------------------------------------------------------------------------------

    def _stored(self, event: Stored) -> None:
        for run in event.runs:
            execution = run.execution
            execution.commit(run.task)
            if execution.uncommitted.pop(run.task, None) is not None:
                self._ack(run.agent.id, (run.name, run.attempt))
                if self._late_acks:
                    for agent, named in self._late_acks.pop(run, ()):
                        self._ack(agent, named)
        for expression in event.ended:
            if expression in self.executions:
                self.drop(self.executions[expression])

    def _ack_in_time(self, execution: Execution, task: int, agent: str, named: Named) -> None:
        """Acknowledge a result that is not wanted, but not before what replaces it is durable."""
        winner = execution.uncommitted.get(task)
        if winner is not None:
            self._late_acks.setdefault(winner, []).append((agent, named))
        elif execution.ended and execution.id in self.executions:
            self._end_acks.setdefault(execution.id, []).append((agent, named))
        else:
            self._ack(agent, named)

    def _ack(self, agent: str, named: tuple[str, int]) -> None:
        acks = self.commands.acks.get(agent)
        if acks is None:
            acks = self.commands.acks[agent] = []
        acks.append(named)

    def place(self, agent: Agent) -> None:
        """The agent's free slots changed."""
        self._allocation.place(agent)

    def withdraw(self, agent: Agent) -> None:
        """The agent takes nothing (under the operations it offered until now)."""
        self._allocation.withdraw(agent)

    # --- what people ask --------------------------------------------------------------------------

    def waiting_for(self, execution: Execution) -> str | None:
        """Why nothing of the expression runs, in a sentence; None while something does."""
        if execution.runs or execution.ended:
            return None
        if execution.is_gated:
            return "the agents of before the restart are given time to come back"
        if self._offer is None:
            self._offer = self.crew.offer()
        is_anyone_here, offered = self._offer
        if not is_anyone_here:
            return "no agent is connected"
        if offered is None:
            return "every connected agent is draining"
        missing = [
            name
            for operation, name in enumerate(OPERATION_NAMES)
            if execution.first_ready(operation) is not None and not offered >> operation & 1
        ]
        if missing and all(
            execution.first_ready(operation) is None or not offered >> operation & 1 for operation in range(4)
        ):
            return f"no agent offers {missing[0]}"
        if self._blocked:
            return "results wait to be stored"
        return "others are first"

    def offered(self) -> int:
        """The operations (a bit each) that a ready task would not have to wait for."""
        return 0 if self._blocked else self._allocation.offered()


def split(name: str) -> tuple[str, int]:
    """A task's name into expression and number; the number is -1 where the name is none of ours."""
    expression, _, task = name.rpartition(".")
    if not task.isascii() or not task.isdigit() or len(task) > 9:
        return expression, -1
    return expression, int(task)

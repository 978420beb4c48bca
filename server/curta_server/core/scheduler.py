"""The scheduler: events in, commands out, in batches. It decides everything and does nothing.

One owner (the dispatcher) calls `handle`; there is no clock here (`now` is the caller's monotonic time in
seconds), no I/O and no waiting. Lateness, duplicates and lost agents are one idea, the attempt number: what
is known about an attempt is its `Run`, in the hands of one agent. Who comes next is `allocation`'s; who is
still there is `liveness`'s.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curta_server.core.acks import Acks
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
    Heard,
    Joined,
    Left,
    Loaded,
    Named,
    Removed,
    Renewed,
    Stored,
    Ticked,
    Unsent,
)  # fmt: skip
from curta_server.core.execution import COMMITTED, DONE, Execution
from curta_server.core.hands import Hands, split
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
    avoid_s: float = 30.0
    """So long a task waits for an agent that is busy rather than go to one that failed it."""
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
        self.acks = Acks(self.executions)
        self.hands = Hands(self, self._allocation, self.acks)
        self.early = EarlyAnswers(rules.early_bytes_max)
        self._blocked = False
        self.touched: dict[Execution, None] = {}
        """Which hold less than before in this turn; in order, so that like events give like commands."""
        self._offer: tuple[bool, int | None] | None = None
        """What `crew.offer` says, if anybody asked since the last turn."""
        self.now = now
        self.commands = Commands()

    def handle(self, events: Sequence[Event], now: float) -> Commands:
        """Take in what happened, in order, and say what shall be done. Cost: proportional to what the events
        name."""
        self.now = now
        self._offer = None
        self.commands = self.acks.commands = commands = Commands()
        self.crew.arrivals.go_on()
        for event in events:
            self._take(event)
        budget = ADVANCE_BUDGET
        while self._advancing and budget > 0:
            budget -= self._advance(self._advancing.popleft(), budget)
        commands.again = bool(self._advancing or self.crew.arrivals)
        for execution in self.touched:
            if not execution.ended:
                self._allocation.show(execution)
            self._allocation.show_user(execution.user)
        self.touched.clear()
        if not self._blocked:
            is_more = self._allocation.assign(self.hands.hand_out, self.crew.others().are_worth_waiting_for)
            commands.again = commands.again or is_more
        return commands

    def _take(self, event: Event) -> None:
        match event:
            case Answered():
                self._answered(event)
            case Stored():
                self._stored(event)
            case Beaten():
                self.crew.beaten(event)
            case Heard():
                self.crew.heard(event)
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
            case Unsent():
                self.crew.unsent(event)
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
        self._allocation.enter(execution)
        self.executions[execution.id] = execution
        if execution.state[execution.root] == COMMITTED:
            self._finish(execution)
        execution.is_gated = event.gated and self.crew.gate.is_closed
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

    def go_on(self, execution: Execution) -> None:
        """The expression has more tasks to find; not at once, for they may be many."""
        if not execution.is_gated:
            self._advancing.append(execution)

    def _advance(self, execution: Execution, budget: int) -> int:
        """Let a new expression's ready tasks be found, up to the budget: what it cost."""
        if execution.ended or execution.id not in self.executions:
            return 1
        ready, more = execution.advance(budget)
        self._allocation.offer(execution, ready)
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
            self.hands.give_up(run)
        self.acks.dropped(execution)
        del self.executions[execution.id]
        execution.user.loaded -= 1
        if not execution.user.loaded:
            del self.users[execution.user.name]
        self.commands.dropped.append(execution.id)

    def _absent(self, expression: str) -> None:
        if expression not in self.executions:
            self.crew.cancel_undecided(expression)
            for agent, answer in self.early.take(expression):
                self.acks.now(agent, Named(answer.task, answer.attempt))

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
        if execution.answered.get(task, {}).get(attempt) == agent_id:
            return True
        return self.hands.was_handed(execution, task, attempt, agent_id)

    # --- results ----------------------------------------------------------------------------------

    def _answered(self, event: Answered) -> None:
        agent = self.crew.speaking(event.agent, event.session)
        if agent is None:
            return
        runs, answered = agent.runs, 0
        for answer in event.answers:
            run = runs.get(answer.task)
            if run is not None and run.attempt == answer.attempt:
                del runs[answer.task]
                answered += 1
                self._conclude(run, answer)
            else:
                self._late_answer(agent, answer)
        agent.give_back(answered)
        self._allocation.place(agent)

    def _late_answer(self, agent: Agent, answer: Answer) -> None:
        """A result for nothing in the agent's hands: late, repeated, of an earlier epoch, or invented."""
        named = Named(answer.task, answer.attempt)
        expression, task = split(answer.task)
        execution = self.executions.get(expression)
        if agent.undecided.get(answer.task) == answer.attempt:
            agent.forget_undecided(answer.task)
        if execution is None and answer.attempt >> 20 == self.epoch:
            self.acks.now(agent.id, named)
        elif execution is None:
            self._remember_early(expression, agent, answer)
        elif not 0 <= task < len(execution.plan):
            self.acks.now(agent.id, named)
        elif (
            execution.ended
            or execution.state[task] >= DONE
            or not self.hands.was_handed(execution, task, answer.attempt, agent.id)
        ):
            self.acks.in_time(execution, task, agent.id, named)
        elif answer.error == "cancelled":
            # The answer to our own `cancel` of an attempt that nobody wanted: no failure of the agent's.
            self.hands.forget_former(execution, task, answer.attempt)
            if answer.attempt >> 20 == self.epoch:
                self.hands.note_answer(execution, task, answer.attempt, agent)
            self.acks.now(agent.id, named)
        else:
            self.hands.forget_former(execution, task, answer.attempt)
            run = Run(execution, task, answer.task, answer.attempt, agent, 0, 0, self.now)
            execution.held += 1  # `_conclude` gives it back
            execution.user.held += 1
            self._conclude(run, answer)

    def _remember_early(self, expression: str, agent: Agent, answer: Answer) -> None:
        if self.early.remember(expression, agent.id, answer):
            self.commands.unknown.add(expression)
        else:
            self.crew.close(agent, 1013, "too many results for expressions that are not loaded yet")

    def _conclude(self, run: Run, answer: Answer) -> None:
        """An attempt that was in the agent's hands has its answer."""
        execution, task = run.execution, run.task
        if run.given_up:
            self.hands.note_answer(execution, task, run.attempt, run.agent)
            self.acks.in_time(execution, task, run.agent.id, Named(run.name, run.attempt))
            return
        self.hands.detach(run)
        if not answer.error and not execution.ended and execution.state[task] < DONE:
            run.value = answer.value
            run.finished_s = self.now
            self._settle(run)
            return
        self.hands.note_answer(execution, task, run.attempt, run.agent)
        named = Named(run.name, run.attempt)
        if execution.ended or execution.state[task] >= DONE:
            self.acks.in_time(execution, task, run.agent.id, named)
        elif answer.error == "division_by_zero":
            run.finished_s = self.now
            self._settle(run)
        elif answer.error == "too_large":
            self.acks.at_end(execution, run.agent.id, named)
            why = f": {answer.message}" if answer.message else ""
            self.fail(execution, Error("too_large", f"{describe(run)} is too large{why}", run.name))
        else:
            self.acks.now(run.agent.id, named)
            self._failed(run, answer)

    def _settle(self, run: Run) -> None:
        execution, task = run.execution, run.task
        if not execution.started:
            # Handed out in an earlier term that ended before the table said so. It has a journal from now on.
            execution.started, execution.started_s = True, self.now
            self.commands.started.append(execution)
        execution.uncommitted[task] = run
        while (other := execution.runs.get(task)) is not None:
            self.hands.give_up(other)  # and the one beside it takes its place
        self.commands.journal.append(run)
        released = execution.settle(task, run.value)
        if released:
            self._allocation.offer(execution, released)
        if run.value is None:
            self.fail(execution, Error("division_by_zero", f"{describe(run)} divides by zero", run.name))
        elif task == execution.root:
            self._finish(execution)
        elif execution.values_bytes > self.rules.values_bytes_max:
            limit = f"the values of one expression may have {self.rules.values_bytes_max} bytes together"
            self.fail(execution, Error("too_large", f"{limit}, and {describe(run)} exceeds that", run.name))

    def _failed(self, run: Run, answer: Answer) -> None:
        """The agent failed at the task. Once too often fails the expression, unless another attempt still
        runs, which may succeed."""
        execution, task = run.execution, run.task
        execution.count_attempt(task, run.attempt, self.epoch)
        self.hands.avoid(run)
        failures = execution.failures[task] = execution.failures.get(task, 0) + 1
        if failures >= self.rules.failures_max:
            why = f"{answer.error}: {answer.message}" if answer.message else str(answer.error)
            execution.verdicts[task] = (
                f"{describe(run)} failed on agents {failures} times, at last with {why}"
            )
        self.hands.requeue(run)

    # --- durable ----------------------------------------------------------------------------------

    def _stored(self, event: Stored) -> None:
        stored: list[Run] = []
        for run in event.runs:
            execution = run.execution
            execution.commit(run.task)
            if execution.uncommitted.pop(run.task, None) is not None:
                stored.append(run)
        self.acks.stored(stored)
        for expression in event.ended:
            if expression in self.executions:
                self.drop(self.executions[expression])

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

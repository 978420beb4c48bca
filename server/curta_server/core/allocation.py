"""Who gets the next free slot: which user, which of the user's expressions, which task, which agent.

Fair between users by the slots they hold now, then between their expressions, and in turn among those who
hold as many: also a single slot goes round. Inside one expression the longest remaining path first; the
agent that holds least, so that parts of one expression spread over machines. Owned by the scheduler, which
says what is ready and who is free; the only decision here is the order.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from curta_server.core.crew import Agent
from curta_server.core.execution import OPERATION_COUNT, READY, Execution
from curta_server.core.fair import Fair, H, order

ASSIGN_BUDGET = 4_000
"""Tasks handed out or made to wait in one turn, about 20 ms; the next ones follow in the next turn."""

RETRY_BUDGET = 2_000
"""Tasks that wait for another agent than the free ones, looked at again in one tick."""


class User:
    """Whoever owns expressions; `held` counts the slots that compute for them now."""

    __slots__ = ("held", "loaded", "name", "ready", "turn")

    def __init__(self, name: str) -> None:
        self.name = name
        self.held = 0
        self.turn = 0
        self.loaded = 0
        self.ready: tuple[Fair[Execution], ...] = tuple(Fair() for _ in range(OPERATION_COUNT))


class Allocation:
    """Ready tasks on one side, free slots on the other, in fair order."""

    def __init__(self) -> None:
        self._users: tuple[Fair[User], ...] = tuple(Fair() for _ in range(OPERATION_COUNT))
        self._idle: dict[int, Fair[Agent]] = {}
        self._parked: deque[tuple[Execution, int]] = deque()
        self._turn = 0

    # --- what is ready, who is free ---------------------------------------------------------------

    def enter(self, execution: Execution) -> None:
        """The execution comes, and perhaps its user: behind those who are here already, for a stream of
        newcomers must not keep them waiting."""
        execution.turn = self._next_turn()
        execution.user.turn = execution.user.turn or execution.turn

    def offer(self, execution: Execution, tasks: Iterable[int]) -> None:
        """The tasks are ready. An execution is shown while it has any that are not gated: those that come to
        others change nothing."""
        for operation in execution.queue(tasks):
            if not execution.is_gated:
                self._show(execution, operation)

    def show(self, execution: Execution) -> None:
        """Take the execution's place anew: it holds less than before, or its gate opened. Those who hold as
        little and wait already come first."""
        execution.turn = self._next_turn()
        if not execution.is_gated:
            for operation in range(OPERATION_COUNT):
                if execution.ready[operation]:
                    self._show(execution, operation)

    def show_user(self, user: User) -> None:
        """Take the user's place anew: all expressions together hold less than before."""
        user.turn = self._next_turn()
        for operation in range(OPERATION_COUNT):
            if user.ready[operation]:
                self._users[operation].add(user)

    def hide(self, execution: Execution) -> None:
        """Nothing of it is to be handed out any more."""
        for operation in range(OPERATION_COUNT):
            execution.ready[operation].clear()
            self._hide(execution, operation)

    def place(self, agent: Agent) -> None:
        """Take the agent's place anew: it has more or fewer free slots than before, came or went."""
        if agent.free > 0 and agent.operations:
            if not agent.turn:
                agent.turn = self._next_turn()
            idle = self._idle.get(agent.operations)
            if idle is None:
                idle = self._idle[agent.operations] = Fair()
            idle.add(agent)
        else:
            self.withdraw(agent)

    def withdraw(self, agent: Agent) -> None:
        """The agent takes nothing, whatever it offered before."""
        for idle in self._idle.values():
            idle.discard(agent)

    def retry_parked(self) -> None:
        """Tasks that had to wait for another agent than the free ones are looked at again."""
        for _ in range(min(len(self._parked), RETRY_BUDGET)):
            execution, task = self._parked.popleft()
            if not execution.ended and (execution.state[task] == READY or task in execution.seconds):
                self.offer(execution, (task,))

    def offered(self) -> int:
        """The operations (a bit each) for which a slot is free."""
        offered = 0
        for operations, idle in self._idle.items():
            if idle.first() is not None:
                offered |= operations
        return offered

    def _show(self, execution: Execution, operation: int) -> None:
        user = execution.user
        user.ready[operation].add(execution)
        self._users[operation].add(user)

    def _next_turn(self) -> int:
        self._turn += 1
        return self._turn

    def _hide(self, execution: Execution, operation: int) -> None:
        user = execution.user
        user.ready[operation].discard(execution)
        if not user.ready[operation]:
            self._users[operation].discard(user)

    # --- the match --------------------------------------------------------------------------------

    def assign(
        self,
        hand_out: Callable[[Execution, Sequence[int], Agent], None],
        is_worth_waiting: Callable[[Mapping[str, float], int], bool],
    ) -> bool:
        """Hand out ready tasks until no suitable slot is free, or ASSIGN_BUDGET is spent: whether it was.
        `is_worth_waiting(avoided, operation)` says whether a task waits for another agent rather than go to
        one that it should avoid."""
        budget = ASSIGN_BUDGET
        while budget > 0 and (offered := self.offered()):
            user = _least(self._users, offered)
            if user is None:
                return False
            execution = _least(user.ready, offered)
            assert execution is not None, "a user is shown only while something of it is ready"
            quantum = min(_quantum(self._users, offered, user), _quantum(user.ready, offered, execution))
            quantum = min(quantum, budget)
            budget -= quantum - self._serve(execution, offered, quantum, hand_out, is_worth_waiting)
        return budget <= 0

    def _serve(
        self,
        execution: Execution,
        offered: int,
        quantum: int,
        hand_out: Callable[[Execution, Sequence[int], Agent], None],
        is_worth_waiting: Callable[[Mapping[str, float], int], bool],
    ) -> int:
        """Up to `quantum` tasks of one execution, as long as the same operations are offered; what is left of
        it."""
        operations = [operation for operation in range(OPERATION_COUNT) if offered >> operation & 1]
        while quantum > 0:
            task, of = -1, -1
            for operation in tuple(operations):
                first = execution.first_ready(operation)
                if first is None:
                    self._hide(execution, operation)
                    operations.remove(operation)
                elif task < 0 or first < task:
                    task, of = first, operation
            if task < 0:
                return quantum
            agent = self._agent_for(execution, task, of, is_worth_waiting)
            if agent is None:
                self._parked.append((execution, execution.take(of)))
                quantum -= 1  # it costs as much as one that is handed out
                continue
            if task in execution.avoided:
                tasks = [execution.take(of)]
            else:
                turns = min(quantum, self._turns(agent, len(execution.ready[of])))
                tasks = execution.take_run(operations, agent.operations, turns)
            hand_out(execution, tasks, agent)
            agent.turn = self._next_turn()
            quantum -= len(tasks)
            if agent.free <= 0:
                idle = self._idle[agent.operations]
                idle.discard(agent)
                if idle.first() is None:
                    return quantum
        return quantum

    def _turns(self, agent: Agent, ready: int) -> int:
        """How many tasks the agent may take in a row: its even share of what is ready, or until another one
        holds less. Where more is ready than slots are free, all are filled whatever the order."""
        share = ready // sum(len(idle) for idle in self._idle.values())
        if len(self._idle) == 1:
            other = self._idle[agent.operations].runner_up()
            share = agent.free if other is None else max(share, other - agent.held)
        return max(1, min(agent.free, share))

    def _agent_for(
        self,
        execution: Execution,
        task: int,
        operation: int,
        is_worth_waiting: Callable[[Mapping[str, float], int], bool],
    ) -> Agent | None:
        """The free agent that holds least; None where the task has to wait for one that is not free now."""
        avoided = execution.avoided.get(task)
        best = self._idlest(operation, avoided or ())
        if (
            best is not None
            or not avoided
            or task in execution.seconds
            or is_worth_waiting(avoided, operation)
        ):
            return best
        # All that are free should not have it: better one of those than to wait for nobody.
        return self._idlest(operation, ())

    def _idlest(self, operation: int, avoided: Collection[str]) -> Agent | None:
        """The free agent with this operation that holds least, but for those avoided; these are few."""
        best: Agent | None = None
        for operations, idle in self._idle.items():
            if operations >> operation & 1:
                agent = _first_but(idle, avoided) if avoided else idle.first()
                if agent is not None and (best is None or order(agent) < order(best)):
                    best = agent
        return best


def _first_but(idle: Fair[Agent], avoided: Collection[str]) -> Agent | None:
    """Who comes first of those not avoided."""
    skipped: list[Agent] = []
    while (agent := idle.first()) is not None and agent.id in avoided:
        idle.discard(agent)
        skipped.append(agent)
    for each in skipped:
        idle.add(each)
    return agent


def _least(queues: Sequence[Fair[H]], offered: int) -> H | None:
    """Who holds least in the queues of the offered operations, and among equals waited longest."""
    best: H | None = None
    for operation, queue in enumerate(queues):
        if offered >> operation & 1 and queue:
            first = queue.first()
            if first is not None and (best is None or order(first) < order(best)):
                best = first
    return best


def _quantum(queues: Sequence[Fair[H]], offered: int, item: H) -> int:
    """How many slots the item, who holds least, may take in a row before somebody else holds less."""
    quantum = 1 << 30
    for operation, queue in enumerate(queues):
        if offered >> operation & 1 and queue:
            first = queue.first()
            other = queue.runner_up() if first is item or first is None else first.held
            if other is not None:
                quantum = min(quantum, max(1, other - item.held))
    return quantum

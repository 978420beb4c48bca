"""One expression as it runs: `state = fold(plan, journal)`, and what the agents compute right now.

Owned by the scheduler; knows neither agents' connections nor users' fairness. Everything is an array over
the plan's task numbers, so that a task costs tens of bytes; whatever may take long (`fold`, `advance`) goes
in slices.
"""

import sys
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import compress
from typing import TYPE_CHECKING

from curta_server.core.plan import Plan

if TYPE_CHECKING:
    from curta_server.core.allocation import User
    from curta_server.core.crew import Run

UNNEEDED, WAITING, READY, RUNNING, DONE, COMMITTED = range(6)
"""A task is exactly one of these. DONE: its value arrived; COMMITTED: its journal row is durable.
UNNEEDED exists only after a recovery: nobody has asked for the task yet (see `advance`)."""

OPERATION_COUNT = 4


class Execution:
    """The tasks of one expression. `held` counts the slots that compute it now.

    `recovered` says that a journal is folded in first; then a task is needed only if it is the root or an
    open, unheld task needs it, which `advance` finds out from the root downwards. A fresh expression needs
    all its tasks.
    """

    __slots__ = (
        "_leaves_from", "_remaining", "_stack", "_uses", "answered", "attempts", "avoided", "committed",
        "durations_ms", "ended", "failures", "former", "held", "id", "is_gated", "losses",
        "negated", "pending", "plan", "ready", "root", "runs", "seconds", "started", "started_s", "state",
        "turn", "twins", "uncommitted", "user", "values", "values_bytes", "verdicts",
    )  # fmt: skip

    def __init__(
        self, id: str, plan: Plan, durations_ms: tuple[int, int, int, int], *, recovered: bool = False
    ) -> None:
        tasks = len(plan)
        self.id = id
        self.user: User
        self.plan = plan
        self.durations_ms = durations_ms
        self.root = tasks - 1
        self.held = 0
        self.turn = 0
        self.state = bytearray(tasks) if recovered else bytearray(b"\1") * tasks
        self.pending = bytearray(tasks) if recovered else _task_operands(plan)
        self.values: list[str | None] = [None] * tasks
        self.values_bytes = 0
        self.negated: dict[int, str] = {}
        """Long values with the other sign, as those who write operands out have made them: once for all their
        users. They go with the values."""
        self.committed = 0
        self.started = recovered
        self.started_s: float | None = None
        self.ended = False
        self.is_gated = False
        self.ready: tuple[list[int], ...] = ([], [], [], [])
        self.runs: dict[int, Run] = {}
        self.twins: dict[int, Run] = {}
        self.uncommitted: dict[int, Run] = {}
        self.attempts: dict[int, int] = {}
        self.former: dict[int, dict[int, str]] = {}
        self.seconds: set[int] = set()
        self.failures: dict[int, int] = {}
        self.answered: dict[int, dict[int, str]] = {}
        """By task: attempts that were answered with no value that counts, each with its agent. Said again
        they count for nothing."""
        self.losses: dict[int, int] = {}
        self.verdicts: dict[int, str] = {}
        """What is to be said of tasks that failed or were lost once too often, should no attempt win."""
        self.avoided: dict[int, dict[str, float]] = {}
        """By task: agents that are not to get it while another can take it, and until when one that can, but
        is busy, is waited for."""
        self._uses: dict[int, int] = {}
        self._leaves_from = 0 if not recovered else -1
        self._stack: list[int] = [self.root] if recovered else []
        self._remaining = [plan.operations.count(bytes((operation,))) for operation in range(OPERATION_COUNT)]

    # --- recovery and start, in slices ------------------------------------------------------------

    def fold(self, rows: Iterable[tuple[int, str | None]]) -> None:
        """Take in journal rows (task, value), in any order, before `advance`."""
        state = self.state
        for task, value in rows:
            if value is not None and state[task] != COMMITTED:
                state[task] = COMMITTED
                self.values_bytes += len(value)
                if task == self.root or any(state[user] != COMMITTED for user in self._users(task)):
                    self.values[task] = value
                self._count_committed(task)

    def _users(self, task: int) -> Sequence[int]:
        at = self.plan.users_at
        return self.plan.users[at[task] : at[task + 1]]

    def advance(self, budget: int) -> tuple[list[int], bool]:
        """Go on finding tasks that are ready, looking at about `budget` of them: (newly ready, whether there
        are more)."""
        found: list[int] = []
        if self._leaves_from >= 0:
            pending, state = self.pending, self.state
            at = self._leaves_from
            while budget > 0:
                at = pending.find(0, at)
                if at < 0:
                    break
                # Leaves stand together: one look at a whole window costs less than a search for each.
                window = pending[at : at + budget].translate(_IS_ZERO)
                leaves = compress(range(at, at + len(window)), window)
                some = [task for task in leaves if state[task] == WAITING]
                for task in some:
                    state[task] = READY
                found += some
                at += len(window)
                budget -= max(len(some), len(window) // 16)
            self._leaves_from = at
            return found, at >= 0
        while self._stack and budget > 0:
            task = self._stack.pop()
            if self.state[task] == UNNEEDED and self._want(task):
                found.append(task)
            budget -= 1
        return found, bool(self._stack)

    def _want(self, task: int) -> bool:
        """The task is needed: count what it waits for, ask for that too; whether it is ready."""
        pending = 0
        for reference in (self.plan.left[task], self.plan.right[task]):
            if reference >= 0 and self.state[reference >> 1] < DONE:
                pending += 1
                if self.state[reference >> 1] == UNNEEDED:
                    self._stack.append(reference >> 1)
        self.pending[task] = pending
        self.state[task] = WAITING if pending else READY
        return not pending

    # --- the life of a task -----------------------------------------------------------------------

    def queue(self, tasks: Iterable[int]) -> set[int]:
        """Put ready tasks into their operations' heaps; gives the operations whose heaps were empty."""
        ready, operations = self.ready, self.plan.operations
        awakened: set[int] = set()
        for task in tasks:
            heap = ready[operations[task]]
            if not heap:
                awakened.add(operations[task])
            heappush(heap, task)
        return awakened

    def first_ready(self, operation: int) -> int | None:
        """The ready task with the longest remaining path, which is the smallest number; None where there is
        none."""
        heap, state, seconds = self.ready[operation], self.state, self.seconds
        while heap:
            task = heap[0]
            if state[task] == READY or task in seconds:
                return task
            heappop(heap)
        return None

    def take(self, operation: int) -> int:
        """Remove what `first_ready` gave."""
        return heappop(self.ready[operation])

    def take_run(self, operations: Sequence[int], offered: int, count: int) -> list[int]:
        """Remove up to `count` ready tasks, the longest remaining path first, of what `first_ready` says of
        these operations. It ends before a task whose operation is not among the `offered` (a bit each), or
        that is to avoid an agent."""
        ready, state, seconds, avoided = self.ready, self.state, self.seconds, self.avoided
        heaps = [ready[operation] for operation in operations if ready[operation]]
        taken: list[int] = []
        while heaps and len(taken) < count:
            heap = heaps[0] if len(heaps) == 1 else min(heaps)  # by their first tasks, which all differ
            task = heap[0]
            # Twice in the heap is what an agent had back for a while and then lost again.
            is_taken = bool(taken) and taken[-1] == task
            if not is_taken and (state[task] == READY or task in seconds):
                if task in avoided or not offered >> self.plan.operations[task] & 1:
                    break
                taken.append(task)
            heappop(heap)
            if not heap:
                heaps.remove(heap)
        return taken

    def settle(self, task: int, value: str | None) -> list[int]:
        """The task's value arrived (None: division by zero): the dependents that are ready by it.

        Dependents are released before the value is durable: tasks are pure, so what is computed from it
        stays right even if a crash forgets it, and only the `ack` and what users see wait for the commit.
        """
        state = self.state
        state[task] = DONE
        self.seconds.discard(task)
        released: list[int] = []
        if value is None:
            return released
        self.values[task] = value
        self.values_bytes += len(value)
        pending, users, users_at = self.pending, self.plan.users, self.plan.users_at
        for at in range(users_at[task], users_at[task + 1]):
            user = users[at]
            if state[user] == WAITING:
                pending[user] -= 1
                if not pending[user]:
                    state[user] = READY
                    released.append(user)
        return released

    def commit(self, task: int) -> None:
        """The task's row is durable: operands that nobody needs any more are freed."""
        if self.state[task] != COMMITTED:
            self.state[task] = COMMITTED
            self._count_committed(task)

    def _count_committed(self, task: int) -> None:
        plan = self.plan
        self.committed += 1
        self._remaining[plan.operations[task]] -= 1
        users_at = plan.users_at
        for reference in (plan.left[task], plan.right[task]):
            if reference < 0:
                continue
            # One use of a value is durable; after the last one it is freed. Most have a single use.
            operand = reference >> 1
            uses = users_at[operand + 1] - users_at[operand]
            if uses > 1:
                uses = self._uses.get(operand, uses)
                if uses > 1:
                    self._uses[operand] = uses - 1
                    continue
                del self._uses[operand]
            self.values[operand] = None
            if self.negated:
                self.negated.pop(operand, None)

    def reopen(self, task: int, budget: int) -> tuple[list[int], bool]:
        """Nobody computes the task any more: what is ready by that (itself, or operands not needed until
        now), as `ask_for` gives it."""
        if self.state[task] != RUNNING:
            return [], False
        self.state[task] = UNNEEDED
        return self.ask_for([task], budget)

    def missing_operands(self, task: int) -> list[int]:
        """The operands whose values are not here. A task that an agent held on to over a restart may lack
        some."""
        plan, state = self.plan, self.state
        return [of >> 1 for of in (plan.left[task], plan.right[task]) if of >= 0 and state[of >> 1] < DONE]

    def ask_for(self, tasks: Iterable[int], budget: int) -> tuple[list[int], bool]:
        """The tasks are needed, too, if nobody needed them until now: (what is ready by that, whether
        `advance` has to go on with it)."""
        found: list[int] = []
        stack, self._stack = self._stack, list(tasks)
        while self._stack and budget > 0:
            wanted = self._stack.pop()
            if self.state[wanted] == UNNEEDED and self._want(wanted):
                found.append(wanted)
            budget -= 1
        is_more = bool(self._stack)
        self._stack = stack + self._stack
        return found, is_more

    def next_attempt(self, task: int, epoch: int) -> int:
        """The number of the next attempt: epoch × 2^20 + n. Only tasks handed out more than once are
        remembered."""
        n = self.attempts.get(task, 0) + 1
        return epoch << 20 | n

    def count_attempt(self, task: int, attempt: int, epoch: int) -> None:
        """The next attempt of the task counts on from this one, if it is of this epoch."""
        n = attempt & 0xFFFFF
        if attempt >> 20 == epoch and n > self.attempts.get(task, 0):
            self.attempts[task] = n

    # --- what people ask --------------------------------------------------------------------------

    def remaining_ms(self) -> int:
        """The work of all tasks not yet committed, one after another."""
        return sum(count * ms for count, ms in zip(self._remaining, self.durations_ms, strict=True))

    def operand_bytes(self, task: int) -> int:
        """About how long the task's operands are on the wire."""
        plan, values = self.plan, self.values
        operands = (
            plan.literal(reference) if reference < 0 else values[reference >> 1] or ""
            for reference in (plan.left[task], plan.right[task])
        )
        return sum(map(len, operands))

    def name(self, task: int) -> str:
        """The task's name on the wire."""
        return f"{self.id}.{task}"


def _task_operands(plan: Plan) -> bytearray:
    """For each task how many of its operands are tasks (0 to 2).

    A reference is a task's where its sign bit is clear; the high bytes of all references become 0 or 1, and
    two big integers are added instead of two million small ones.
    """
    high = slice(3, None, 4) if sys.byteorder == "little" else slice(0, None, 4)
    left, right = (
        int.from_bytes(references.tobytes()[high].translate(_IS_TASK), "little")
        for references in (plan.left, plan.right)
    )
    return bytearray((left + right).to_bytes(len(plan), "little"))


_IS_TASK = bytes(byte < 128 for byte in range(256))
_IS_ZERO = bytes(byte == 0 for byte in range(256))

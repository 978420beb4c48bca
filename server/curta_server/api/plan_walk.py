"""A bounded look into a plan: which tasks to show, how much is cut off, and what state they are in.

Pure but for giving way to the event loop. Called by `plan_window`; knows plans and journal rows, not
requests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from curta_server.core.plan import Plan
from curta_server.slices import Slices

if TYPE_CHECKING:
    from curta_server.resources import TaskStatus
    from curta_server.store import JournalRow

SHOWN_MAX: Final = 2000
BELOW_MAX: Final = 10_000
STEPS_MAX: Final = 2_000_000
"""Of counting what is cut off, for one request: enough for every plan that shares nothing."""


def operands_of(plan: Plan, task: int) -> tuple[int, ...]:
    """The tasks that a task takes its operands from: none, one or two (the same twice is named once)."""
    left, right = plan.left[task], plan.right[task]
    if left < 0:
        return () if right < 0 else (right >> 1,)
    if right < 0 or right >> 1 == left >> 1:
        return (left >> 1,)
    return left >> 1, right >> 1


def above(plan: Plan, task: int, levels: int) -> int:
    """The task that uses its value so many levels further up, each time the most urgent that does; the root
    where there are fewer."""
    for _ in range(levels):
        at = plan.users_at[task]
        if at == plan.users_at[task + 1]:
            break
        task = plan.users[at]
    return task


def shown(plan: Plan, root: int, depth: int | None) -> list[int]:
    """Breadth first from `root`, each task once, at most SHOWN_MAX of them and `depth` levels below the
    root."""
    tasks = [root]
    known = {root}
    level, level_end = 0, 1
    for at, task in enumerate(tasks):
        if at == level_end:
            level, level_end = level + 1, len(tasks)
        if level == depth:
            break
        for operand in operands_of(plan, task):
            if operand not in known:
                if len(tasks) == SHOWN_MAX:
                    return tasks
                known.add(operand)
                tasks.append(operand)
    return tasks


async def counts_below(plan: Plan, tasks: Sequence[int]) -> dict[int, int | None]:
    """For each task whose operands are not all among `tasks`: how many tasks under it are not, up to
    BELOW_MAX.

    None stands for those that STEPS_MAX did not suffice for. Gives way to others between the tasks.
    """
    among = frozenset(tasks)
    left = STEPS_MAX
    counts: dict[int, int | None] = {}
    slices = Slices()
    for task in tasks:
        hidden = [operand for operand in operands_of(plan, task) if operand not in among]
        if not hidden:
            continue
        if left <= 0:
            counts[task] = None
            continue
        counts[task] = _count(plan, hidden, among)
        left -= counts[task] or 0
        await slices.turn()
    return counts


def _count(plan: Plan, hidden: list[int], among: Collection[int]) -> int:
    left, right = plan.left, plan.right
    found = set(hidden)
    stack = hidden
    while stack:
        task = stack.pop()
        for reference in (left[task], right[task]):
            if reference >= 0:
                operand = reference >> 1
                if operand not in found and operand not in among:
                    found.add(operand)
                    if len(found) == BELOW_MAX:
                        return BELOW_MAX
                    stack.append(operand)
    return len(found)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What of a plan decides on the states of some tasks: they, the tasks they take their operands from, and
    who uses the first."""

    tasks: Sequence[int]
    operands: Mapping[int, tuple[int, ...]]
    users: Sequence[int]


def excerpt(plan: Plan, tasks: Sequence[int]) -> Excerpt:
    """Of these tasks. It is small, whatever the plan's size."""
    root = tasks[0]
    users = plan.users[plan.users_at[root] : plan.users_at[root + 1]][:SHOWN_MAX]
    return Excerpt(tasks, {task: operands_of(plan, task) for task in tasks}, list(users))


def asked_rows(part: Excerpt) -> set[int]:
    """The tasks whose journal rows tell the states of the excerpt's."""
    asked = {*part.tasks, *part.users}
    for operands in part.operands.values():
        asked.update(operands)
    return asked


def fold(
    part: Excerpt,
    rows: Mapping[int, JournalRow],
    memory: Mapping[int, str],
    *,
    status: str,
    failed: int | None,
) -> dict[int, TaskStatus]:
    """The state of each of the excerpt's tasks: by its journal row, by the leader's `memory`, else by what is
    known around it.

    A task without a row whose user has one was not needed any more, or its row was pruned: it is done, its
    value forgotten. `status` is the expression's, `failed` the task that ended it.
    """
    states: dict[int, TaskStatus] = {}
    over = set()
    if any(user in rows for user in part.users):
        over.add(part.tasks[0])
    for task in sorted(part.tasks, reverse=True):  # users before their operands
        state = _state(part.operands[task], task, rows, memory.get(task), task in over, status, failed)
        states[task] = state
        if state in ("done", "failed"):
            over.update(part.operands[task])
    return states


def _state(
    operands: Sequence[int],
    task: int,
    rows: Mapping[int, JournalRow],
    remembered: str | None,
    is_over: bool,
    status: str,
    failed: int | None,
) -> TaskStatus:
    row = rows.get(task)
    if row is not None:
        return "failed" if row.value is None else "done"
    if task == failed:
        return "failed"
    if is_over or status == "done":
        return "done"
    if status in ("failed", "cancelled"):
        return "cancelled"
    match remembered:
        case "waiting" | "ready" | "running" | "failed" | "cancelled":
            return remembered
        case "done":
            return "running"  # its result has arrived, but is not durable yet: nobody is told before
    is_ready = all(operand in rows for operand in operands)
    return "ready" if is_ready else "waiting"

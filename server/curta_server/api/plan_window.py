"""A part of one expression's plan as it stands: at most 2,000 tasks, each with its state.

Made by the route `GET /expressions/{id}/tasks`, which looks once, and by the topic of one expression, which
looks as long as a browser shows it. Then only what may have changed is asked for again: a task that is done
stays as it is. The plan itself, which may be long, is not kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from curta_server import resources as shapes
from curta_server import store
from curta_server.api import plan_walk
from curta_server.api.expression_views import unknown
from curta_server.api.rendering import cut, moment
from curta_server.core.hands import split
from curta_server.errors import Problem
from curta_server.slices import Slices
from curta_wire import numbers

if TYPE_CHECKING:
    from curta_server.api.plans import PlanCache
    from curta_server.api.services import Services
    from curta_server.core.plan import Plan
    from curta_server.views import TaskState

DEPTH_MAX: Final = 2_000_000
ABOVE_MAX: Final = 64

ASK_ALL_S: Final = 2.0
"""So often at least the table is asked of all tasks that are not done, and not only of those that the leader
calls so."""


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What of a task never changes."""

    operation: shapes.OperationName
    operands: list[str | shapes.TaskOperand]
    truncated: tuple[str, ...]
    below: int | None


@dataclass(frozen=True, slots=True)
class _Mark:
    """A task that looks the same as before has the same mark."""

    state: shapes.TaskStatus
    has_row: bool
    attempt: int | None
    started_at_us: int | None


class PlanWindow:
    """The tasks from one operand down."""

    def __init__(
        self,
        services: Services,
        id: UUID,
        root: str | shapes.TaskOperand,
        part: plan_walk.Excerpt,
        fixed: Mapping[int, _Fixed],
    ) -> None:
        self.root = root
        self._services = services
        self._id = id
        self._part = part
        self._fixed = fixed
        self._asked = plan_walk.asked_rows(part)
        self._asked_all_s = 0.0
        self._rows: dict[int, store.JournalRow] = {}
        self._marks: dict[int, _Mark] = {}

    @classmethod
    async def open(
        cls,
        services: Services,
        plans: PlanCache,
        id: UUID,
        root: str | None,
        depth: int | None,
        above: int = 0,
    ) -> PlanWindow:
        """From the task named `root` (the plan's root by default) or one so many levels `above` it, `depth`
        levels down. Raises: Problem 404, 400 for what is no task's name."""
        plan = await plan_of(services, plans, id)
        reference = _reference(str(id), plan, root)
        if above and reference >= 0:
            reference = plan_walk.above(plan, reference >> 1, above) << 1
        shown = _operand(plan, str(id), reference, [])
        if reference < 0:
            return cls(services, id, shown, plan_walk.Excerpt([], {}, []), {})
        tasks = plan_walk.shown(plan, reference >> 1, depth)
        below = await plan_walk.counts_below(plan, tasks)
        fixed = {}
        slices = Slices()
        for task in tasks:
            truncated: list[str] = []
            operands = [_operand(plan, str(id), side[task], truncated) for side in (plan.left, plan.right)]
            operation = shapes.OPERATION_NAMES[plan.operations[task]]
            fixed[task] = _Fixed(operation, operands, tuple(dict.fromkeys(truncated)), below.get(task, 0))
            await slices.turn()
        return cls(services, id, shown, plan_walk.excerpt(plan, tasks), fixed)

    async def look(self, row: store.ExpressionRow) -> list[shapes.PlanTask]:
        """The tasks that are not what they were at the last look: all of them at the first, breadth first.
        `row` is the expression's, read just now."""
        part = self._part
        if not part.tasks:
            return []
        # Memory before the table: what memory called done and durable has its row by then.
        memory = {} if row.is_final else await self._memory()
        await self._read_rows(memory)
        states = plan_walk.fold(
            part,
            self._rows,
            {task: state.state for task, state in memory.items()},
            status=row.status,
            failed=_number(row.error_task, str(self._id)),
        )
        changed = []
        slices = Slices()
        for task in part.tasks:
            known = memory.get(task) if states[task] == "running" else None
            mark = _Mark(
                states[task],
                task in self._rows,
                None if known is None else known.attempt,
                None if known is None else known.started_at_us,
            )
            if self._marks.get(task) != mark:
                self._marks[task] = mark
                changed.append(self._item(task, states[task], known))
                await slices.turn()
        return changed

    async def _memory(self) -> Mapping[int, TaskState]:
        still_open = [task for task in self._part.tasks if task not in self._rows]
        return await self._services.leading.task_states(str(self._id), still_open) if still_open else {}

    async def _read_rows(self, memory: Mapping[int, TaskState]) -> None:
        """Ask for the rows that may be there and are not known yet: those that memory calls done, and all
        where memory is silent, or now and then."""
        now = time.monotonic()
        if not memory or now - self._asked_all_s > ASK_ALL_S:
            self._asked_all_s = now
            asked: Iterable[int] = self._asked - self._rows.keys()
        else:
            asked = (task for task, state in memory.items() if state.state == "done")
        tasks = sorted(asked)
        if tasks:
            async with self._services.engine.connect() as connection:
                rows = await store.journal_rows(connection, self._id, tasks)
            self._rows.update((row.task, row) for row in rows)

    def _item(self, task: int, state: shapes.TaskStatus, memory: TaskState | None) -> shapes.PlanTask:
        fixed, row = self._fixed[task], self._rows.get(task)
        truncated = list(fixed.truncated)
        agent: shapes.AgentName | None = None
        attempt, started_at, finished_at, value = None, None, None, None
        if row is not None:
            agent = shapes.AgentName(str(row.agent_id), row.agent_name or "")
            attempt, started_at, finished_at = row.attempt, row.started_at, row.finished_at
            value = cut("value", row.value, truncated)
        elif memory is not None:
            attempt, started_at = memory.attempt, moment(memory.started_at_us)
            if memory.agent_id is not None:
                agent = shapes.AgentName(memory.agent_id, memory.agent_name or "")
        return shapes.PlanTask(
            task=f"{self._id}.{task}",
            operation=fixed.operation,
            operands=fixed.operands,
            state=state,
            value=value,
            agent=agent,
            attempt=attempt,
            started_at=started_at,
            finished_at=finished_at,
            below=fixed.below,
            truncated=truncated,
        )


async def plan_of(services: Services, plans: PlanCache, id: UUID) -> Plan:
    """The plan of an expression, out of memory where it is. Raises: Problem 404."""
    plan = services.leading.plan(str(id)) or await plans.get(id)
    if plan is None:
        raise unknown()
    return plan


def _reference(expression: str, plan: Plan, asked: str | None) -> int:
    """The reference to begin at. Raises: Problem 400 for what is no task's name, 404 for an unknown one."""
    if asked is None:
        return plan.root
    task = _number(asked, expression)
    if task is None and not asked.rpartition(".")[2].isdecimal():
        raise Problem("malformed", "`root` must be the name of a task, as `task` gives it.")
    if task is None or task >= len(plan):
        raise Problem("not_found", "The expression has no such task.")
    return task << 1


def _number(task: str | None, expression: str) -> int | None:
    """The number of a task of this expression, by its name on the wire."""
    if task is None:
        return None
    name, number = split(task)
    return number if name == expression and number >= 0 else None


def _operand(plan: Plan, expression: str, reference: int, truncated: list[str]) -> str | shapes.TaskOperand:
    """What a reference stands for: another task's result, or a number with its sign applied."""
    if reference >= 0:
        return shapes.TaskOperand(f"{expression}.{reference >> 1}", bool(reference & 1))
    number = numbers.from_literal(plan.literal(reference))
    if ~reference & 1:
        number = numbers.negate(number)
    return cut("operands", number, truncated) or ""

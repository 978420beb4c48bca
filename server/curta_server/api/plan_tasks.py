"""The plan of an expression as it stands: `GET /expressions/{id}/tasks`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType
from quart import Blueprint, Response, request

from curta_server import resources as shapes
from curta_server import store
from curta_server.api import answers, plan_walk, reading
from curta_server.api.access import READERS, allow
from curta_server.api.documentation import documented
from curta_server.api.expressions import row_of
from curta_server.api.rendering import cut, moment
from curta_server.api.services import context, services
from curta_server.errors import Problem
from curta_server.slices import Slices
from curta_wire import numbers

if TYPE_CHECKING:
    from curta_server.core.plan import Plan
    from curta_server.views import TaskState

plan_tasks = Blueprint("plan_tasks", __name__)

DEPTH_MAX = 2_000_000


class TasksQuery(Struct):
    root: (
        Annotated[
            str,
            Meta(description="Where to begin, the plan's root by default.", pattern=shapes.TASK_PATTERN),
        ]
        | UnsetType
    ) = UNSET
    depth: Annotated[
        int, Meta(description="So many levels below it; all by default.", ge=0, le=DEPTH_MAX)
    ] = DEPTH_MAX


@plan_tasks.get("/expressions/<id>/tasks")
@allow(*READERS)
@documented("expressions", {200: shapes.PlanTasks}, query=TasksQuery, problems=("not_found", "unprocessable"))
async def list_plan_tasks(id: str) -> Response:
    """The plan as it stands, breadth first from the root, at most 2,000 tasks.

    Where something is cut off, `below` counts it, and `root` with that task opens it.
    """
    found = reading.uuid(id, "expression")
    depth = reading.integer("depth", None, 0, DEPTH_MAX)
    row = await row_of(found)
    leading = services().leading
    plan = leading.plan(str(found))
    if plan is None:
        plan = await context().plans.get(found)
    if plan is None:
        raise Problem("not_found", "There is no expression with this id.")
    root = _root(str(found), plan, request.args.get("root"))
    if root < 0:
        return answers.answer(shapes.PlanTasks(_operand(plan, str(found), root, []), []))
    tasks = plan_walk.shown(plan, root >> 1, depth)
    # Memory before the table: what memory called done and durable has its row by then.
    memory = {} if row.is_final else await leading.task_states(str(found), tasks)
    rows = await _rows(found, plan_walk.asked_rows(plan, tasks))
    states = plan_walk.fold(
        plan,
        tasks,
        rows,
        {task: state.state for task, state in memory.items()},
        status=row.status,
        failed=_number(row.error_task, str(found)),
    )
    below = await plan_walk.counts_below(plan, tasks)
    items = []
    slices = Slices()
    for task in tasks:
        items.append(
            _item(plan, str(found), task, states[task], rows.get(task), memory.get(task), below.get(task, 0))
        )
        await slices.turn()
    return answers.answer(shapes.PlanTasks(_operand(plan, str(found), root, []), items))


def _root(expression: str, plan: Plan, asked: str | None) -> int:
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
    name, _, number = task.rpartition(".")
    if name != expression or not (number.isascii() and number.isdecimal()) or len(number) > 9:
        return None
    return int(number)


async def _rows(id: UUID, tasks: list[int]) -> Mapping[int, store.JournalRow]:
    async with context().services.engine.connect() as connection:
        return {row.task: row for row in await store.journal_rows(connection, id, tasks)}


def _item(
    plan: Plan,
    expression: str,
    task: int,
    state: shapes.TaskStatus,
    row: store.JournalRow | None,
    memory: TaskState | None,
    below: int | None,
) -> shapes.PlanTask:
    truncated: list[str] = []
    operands = [_operand(plan, expression, side[task], truncated) for side in (plan.left, plan.right)]
    agent: shapes.AgentName | None = None
    attempt, started_at, finished_at, value = None, None, None, None
    if row is not None:
        agent = shapes.AgentName(str(row.agent_id), row.agent_name or "")
        attempt, started_at, finished_at = row.attempt, row.started_at, row.finished_at
        value = cut("value", row.value, truncated)
    elif memory is not None and state == "running":
        attempt, started_at = memory.attempt, moment(memory.started_at_us)
        if memory.agent_id is not None:
            agent = shapes.AgentName(memory.agent_id, memory.agent_name or "")
    return shapes.PlanTask(
        task=f"{expression}.{task}",
        operation=shapes.OPERATION_NAMES[plan.operations[task]],
        operands=operands,
        state=state,
        value=value,
        agent=agent,
        attempt=attempt,
        started_at=started_at,
        finished_at=finished_at,
        below=below,
        truncated=list(dict.fromkeys(truncated)),
    )


def _operand(plan: Plan, expression: str, reference: int, truncated: list[str]) -> str | shapes.TaskOperand:
    """What a reference stands for: another task's result, or a number with its sign applied."""
    if reference >= 0:
        return shapes.TaskOperand(f"{expression}.{reference >> 1}", bool(reference & 1))
    number = numbers.from_literal(plan.literal(reference))
    if ~reference & 1:
        number = numbers.negate(number)
    return cut("operands", number, truncated) or ""

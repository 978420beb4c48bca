"""The plan of an expression: as it stands (`GET /expressions/{id}/tasks`), and what it costs."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from quart import Blueprint, Response, request

from curta_server import resources as shapes
from curta_server.api import answers, reading
from curta_server.api.access import READERS, allow
from curta_server.api.documentation import documented
from curta_server.api.expressions import row_of
from curta_server.api.plan_window import ABOVE_MAX, DEPTH_MAX, PlanWindow
from curta_server.api.services import context

plan_tasks = Blueprint("plan_tasks", __name__)


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
    above: Annotated[
        int,
        Meta(description="Begin so many levels above `root`, at a task that needs it.", ge=0, le=ABOVE_MAX),
    ] = 0


@plan_tasks.get("/expressions/<id>/tasks")
@allow(*READERS)
@documented("expressions", {200: shapes.PlanTasks}, query=TasksQuery, problems=("not_found", "unprocessable"))
async def list_plan_tasks(id: str) -> Response:
    """The plan as it stands, breadth first from the root, at most 2,000 tasks.

    Where something is cut off, `below` counts it, and `root` with that task opens it.
    """
    found = reading.uuid(id, "expression")
    depth = reading.integer("depth", None, 0, DEPTH_MAX)
    above = reading.integer("above", 0, 0, ABOVE_MAX)
    row = await row_of(found)
    window = await PlanWindow.open(
        context().services, context().plans, found, request.args.get("root"), depth, above
    )
    return answers.answer(shapes.PlanTasks(window.root, await window.look(row)))


@plan_tasks.get("/expressions/<id>/plan")
@allow(*READERS)
@documented("expressions", {200: shapes.PlanFigures}, problems=("not_found",))
async def get_plan_figures(id: str) -> Response:
    """What the expression's plan costs by the operations' durations now, and what it took."""
    found = reading.uuid(id, "expression")
    row = await row_of(found)
    return answers.answer(await context().figures.of(row, await context().durations.current()))

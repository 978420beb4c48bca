"""Expressions once they are there: list, look, wait, cancel."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType
from quart import Blueprint, Response, request

from curta_server import metrics, store
from curta_server import resources as shapes
from curta_server.api import answers, expression_views, reading, rendering
from curta_server.api.access import READERS, WRITERS, allow, caller, scope_of
from curta_server.api.documentation import documented
from curta_server.api.services import context
from curta_server.errors import Problem
from curta_server.leading import Memory

expressions = Blueprint("expressions", __name__)


class ListQuery(Struct):
    status: Annotated[list[shapes.Status], Meta(description="May repeat.")] = []
    q: (
        Annotated[
            str,
            Meta(
                description="Contained in the first 200 characters, ignoring case; no NUL.",
                max_length=200,
                pattern="^[^\\u0000]*$",
            ),
        ]
        | UnsetType
    ) = UNSET
    limit: Annotated[int, Meta(ge=1, le=reading.LIMIT_MAX)] = reading.LIMIT
    cursor: reading.Cursor | UnsetType = UNSET


class LookQuery(Struct):
    wait: Annotated[
        float, Meta(description="Answer as soon as it is final, at most so many seconds later.", ge=0, le=50)
    ] = 0
    full: Annotated[bool, Meta(description="false cuts texts and numbers to 200 characters.")] = True


@expressions.get("/expressions")
@allow(*READERS)
@documented("expressions", {200: shapes.ExpressionPage}, query=ListQuery, problems=("unprocessable",))
async def list_expressions() -> Response:
    """List expressions, newest first: a user's own; everybody's for viewers and admins."""
    services = context().services
    limit = reading.limit()
    statuses = reading.choices("status", shapes.STATUSES)
    window = expression_views.Window.of(
        owner_limit(),
        statuses=statuses,
        q=request.args.get("q", ""),
        cursor=reading.cursor(),
        limit=limit,
    )
    seen, following = await expression_views.page(services, window)
    return answers.answer(
        shapes.ExpressionPage(items=[rendering.expression(*one) for one in seen], next=following)
    )


@expressions.get("/expressions/<id>")
@allow(*READERS)
@documented(
    "expressions",
    {200: shapes.Expression},
    query=LookQuery,
    problems=("not_found", "unprocessable", "too_many_requests"),
)
async def get_expression(id: str) -> Response:
    """Look at an expression, or wait for its end."""
    found = reading.uuid(id, "expression")
    wait_s = reading.seconds("wait", reading.WAIT_S_MAX)
    full = reading.boolean("full") is not False
    if not wait_s:
        row = await row_of(found, full=full)
    else:
        async with context().gate.waiting(caller()):
            row = await _final_row(found, wait_s, full=full)
    return answers.answer(rendering.expression(row, await _memory_of(row), full=full))


@expressions.delete("/expressions/<id>")
@allow(*WRITERS)
@documented("expressions", {200: shapes.Expression}, problems=("not_found", "conflict"))
async def cancel_expression(id: str) -> Response:
    """Cancel an expression: running tasks stop at once. Cancelling again is no error."""
    found = reading.uuid(id, "expression")
    services = context().services
    progress = (await services.leading.memory([str(found)])).progress.get(str(found))
    async with services.engine.begin() as connection:
        outcome: Literal["cancelled", "already", "final", "unknown"] = await store.cancel_expression(
            connection,
            found,
            owner=owner_limit(),
            tasks_done=None if progress is None else progress.done,
        )
    match outcome:
        case "unknown":
            raise expression_views.unknown()
        case "final":
            raise Problem("conflict", "The expression is done or failed already.")
        case "cancelled":
            metrics.finished_expressions.labels("cancelled").inc()
            services.leading.cancelled(str(found))
    row = await row_of(found)
    return answers.answer(rendering.expression(row, await _memory_of(row)))


async def _final_row(id: UUID, wait_s: float, *, full: bool) -> store.ExpressionRow:
    """The row when the expression has ended, or after `wait_s`. Raises: Problem 404."""
    # Watched before it is read, so that an end between the two is not missed.
    with context().services.feed.watch(str(id)) as watch:
        row = await row_of(id, full=full)
        if not row.is_final:
            await watch.wait(wait_s)
            row = await row_of(id, full=full)
    return row


async def row_of(id: UUID, *, full: bool = False) -> store.ExpressionRow:
    """The row of an expression that the caller may see. Raises: Problem 404."""
    return await expression_views.row_of(context().services, id, owner_limit(), full=full)


async def _memory_of(row: store.ExpressionRow) -> Memory:
    """What the leader's memory says of an expression; nothing where it is final."""
    return await expression_views.memory_of(context().services, [row])


def owner_limit() -> str | None:
    """A user's own name; None for those who see everybody's."""
    return scope_of(caller())

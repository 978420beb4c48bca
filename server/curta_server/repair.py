"""What becomes of an expression whose stored plan cannot be read, by a leader that has claimed it.

Called by the loader. As long as nothing was computed the text is planned again, which gives the same value;
rows of a journal mean something only beside the plan that they were computed by, so whatever has begun ends
as failed. A plan of a later release is left alone: its orchestrators go on with it.
"""

import asyncio

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from curta_server.core.expression import ExpressionError, parse
from curta_server.core.plan import NewerPlan, Plan, build

log = structlog.get_logger()

CODE = "plan_lost"
MESSAGE = "The stored plan cannot be read any more, and work has begun by it: submit the expression again."

_ANY = 2**31 - 1
"""No limits: it was accepted."""


async def repair(
    engine: AsyncEngine, epoch: int, row: store.ClaimedRow, error: ValueError, *, now_us: int
) -> Plan | None:
    """A new plan, stored in the place of the old one; None where the expression has failed instead, or waits
    for a later release. Raises: NotLeading, and what `store.is_outage` tells apart."""
    id = str(row.id)
    if isinstance(error, NewerPlan):
        log.error("a stored plan is of a later release; its expression waits", expression=id)
        return None
    if row.status == "queued":
        # A thread shares the interpreter with the loop, which stays awake; and this happens next to never.
        plan = await asyncio.to_thread(_plan_again, row)
        if plan is not None:
            encoded = plan.encode()
            async with engine.begin() as connection:
                if await store.replace_plan(connection, epoch, row.id, encoded, len(plan)):
                    log.warning("a stored plan was damaged and is made anew", expression=id, error=str(error))
                    return plan
    log.error("a stored plan is damaged; its expression fails", expression=id, error=str(error))
    final = store.Final(row.id, "failed", 0, now_us, error_code=CODE, error_message=MESSAGE)
    async with engine.begin() as connection:
        await store.end_expressions(connection, epoch, [final])
    return None


def _plan_again(row: store.ClaimedRow) -> Plan | None:
    try:
        return build(
            parse(row.text, literal_digits_max=_ANY), row.durations, optimize=row.optimize, tasks_max=_ANY
        )
    except ExpressionError:
        return None  # of a grammar that is no more

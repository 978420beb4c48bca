"""Computing resources as people see them: who is connected, what it computes, drain and removal.

Who lives is known to the leader's memory alone, so every route here is the leader's.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Annotated, Final, cast

from msgspec import UNSET, Meta, Struct, UnsetType
from quart import Blueprint, Response

from curta_server import resources as shapes
from curta_server.api import answers, reading
from curta_server.api.access import ADMINS, READERS, allow, caller
from curta_server.api.documentation import documented
from curta_server.api.led import led
from curta_server.api.rendering import cut, moment
from curta_server.api.services import services
from curta_server.errors import Problem

if TYPE_CHECKING:
    from curta_server.views import AgentView, RunView

agents = Blueprint("agents", __name__)

AGENT_TASKS_MAX: Final = 1000
"""Of one agent in one answer."""
PAGE_TASKS_MAX: Final = 5000
"""Of one answer: a page ends early rather than to hold many megabytes."""


class AgentsQuery(Struct):
    limit: Annotated[int, Meta(description="At most; a page may be shorter.", ge=1, le=reading.LIMIT_MAX)] = (
        reading.LIMIT
    )
    cursor: reading.Cursor | UnsetType = UNSET


@agents.get("/agents")
@allow(*READERS)
@documented("agents", {200: shapes.AgentPage}, query=AgentsQuery, problems=("unprocessable",))
@led
async def list_agents() -> Response:
    """The agents by name, with what they compute; lost ones stay for an hour."""
    limit = reading.limit()
    after = _after()
    views = services().dispatcher.agents()
    found = heapq.nsmallest(limit + 1, (view for view in views if after is None or _key(view) > after), _key)
    token = caller()
    owner = token.name if token.role == "user" else None
    items: list[shapes.Agent] = []
    tasks = 0
    for view in found[:limit]:
        items.append(_agent(view, services().dispatcher.runs(view.id, AGENT_TASKS_MAX), owner))
        tasks += len(items[-1].tasks)
        if tasks >= PAGE_TASKS_MAX:
            break
        await asyncio.sleep(0)
    last = items[-1] if items and len(items) < len(found) else None
    following = None if last is None else reading.make_cursor(f"{last.id}{last.name}".encode())
    return answers.answer(shapes.AgentPage(items, following))


@agents.post("/agents/<id>/drain")
@allow(*ADMINS)
@documented("agents", {200: shapes.AgentChange}, problems=("not_found",))
@led
async def drain_agent(id: str) -> Response:
    """Give an agent no new tasks; it finishes what it has. Survives its reconnects."""
    agent = str(reading.uuid(id, "agent"))
    if not await services().dispatcher.drain(agent):
        raise _unknown()
    return answers.answer(shapes.AgentChange(agent, "draining"))


@agents.delete("/agents/<id>")
@allow(*ADMINS)
@documented("agents", {200: shapes.AgentChange}, problems=("not_found",))
@led
async def remove_agent(id: str) -> Response:
    """Disconnect an agent now and hand its tasks out again. It is not admitted for 60 s."""
    agent = str(reading.uuid(id, "agent"))
    if not await services().dispatcher.remove(agent):
        raise _unknown()
    return answers.answer(shapes.AgentChange(agent, "removed"))


def _key(view: AgentView) -> tuple[str, str]:
    return view.name, view.id


def _after() -> tuple[str, str] | None:
    payload = reading.cursor()
    if payload is None:
        return None
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise reading.invalid_cursor() from None
    if len(text) < 36:
        raise reading.invalid_cursor()
    return text[36:], text[:36]


def _agent(view: AgentView, runs: list[RunView], owner: str | None) -> shapes.Agent:
    return shapes.Agent(
        id=view.id,
        name=view.name,
        slots=view.slots,
        operations=list(view.operations),
        status=cast("shapes.AgentStatus", view.status),
        connected_at=moment(view.connected_at_us),
        last_seen_s=view.last_seen_s,
        tasks=[_task(run, owner) for run in runs],
        running=view.running,
    )


def _task(run: RunView, owner: str | None) -> shapes.AgentTask:
    """What an agent computes; of what is not `owner`'s (None sees all) the operation only."""
    if owner is not None and run.owner != owner:
        return shapes.AgentTask(
            task=None,
            expression_id=None,
            operation=run.operation,
            operands=None,
            started_at=None,
            duration_ms=None,
            truncated=[],
        )
    truncated: list[str] = []
    operands = [cut("operands", operand, truncated) or "" for operand in run.operands]
    return shapes.AgentTask(
        task=run.task,
        expression_id=run.expression_id,
        operation=run.operation,
        operands=operands,
        started_at=moment(run.started_at_us),
        duration_ms=run.duration_ms,
        truncated=truncated[:1],
    )


def _unknown() -> Problem:
    return Problem("not_found", "There is no agent with this id.")

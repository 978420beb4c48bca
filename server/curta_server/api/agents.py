"""Computing resources as people see them: who is connected, what it computes, drain and removal.

Who lives is known to the leader's memory alone, so every route here is the leader's.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType
from quart import Blueprint, Response

from curta_server import resources as shapes
from curta_server.agent_pages import page
from curta_server.api import answers, reading
from curta_server.api.access import ADMINS, READERS, allow, caller, scope_of
from curta_server.api.agent_views import cursor_of, place_of, shown
from curta_server.api.documentation import documented
from curta_server.api.led import led
from curta_server.api.services import services
from curta_server.errors import Problem

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
    limit, after = reading.limit(), place_of(reading.cursor())
    found = await page(services().dispatcher, after, limit, AGENT_TASKS_MAX, PAGE_TASKS_MAX)
    owner = scope_of(caller())
    items = [shown(busy, owner) for busy in found.agents]
    return answers.answer(shapes.AgentPage(items, cursor_of(found)))


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


def _unknown() -> Problem:
    return Problem("not_found", "There is no agent with this id.")

"""Agents as people see them: what `GET /agents` and the topic `agents` of `GET /live` share."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, cast

from curta_server import resources as shapes
from curta_server.api import reading
from curta_server.api.rendering import cut, moment

if TYPE_CHECKING:
    from curta_server.agent_pages import Place
    from curta_server.views import AgentsView, BusyAgent, PassedOnView, RunView

ID_LENGTH = 36
PASSED_ON_MAX = 10
"""Of a lost agent's tasks: it is told again every second, for an hour."""


def place_of(payload: bytes | None) -> Place | None:
    """Where a page begins, out of a cursor's payload. Raises: Problem 400."""
    if payload is None:
        return None
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise reading.invalid_cursor() from None
    if len(text) < ID_LENGTH:
        raise reading.invalid_cursor()
    return text[ID_LENGTH:], text[:ID_LENGTH]


def cursor_of(page: AgentsView) -> str | None:
    """The cursor of the page after this one; None where there is none."""
    if not page.is_more or not page.agents:
        return None
    last = page.agents[-1].agent
    return reading.make_cursor(f"{last.id}{last.name}".encode())


def shown(busy: BusyAgent, owner: str | None) -> shapes.Agent:
    """An agent with what it computes; of what is not `owner`'s (None sees all) the operation only."""
    agent = busy.agent
    return shapes.Agent(
        id=agent.id,
        name=agent.name,
        slots=agent.slots,
        operations=list(agent.operations),
        status=cast("shapes.AgentStatus", agent.status),
        connected_at=moment(agent.connected_at_us),
        last_seen_s=round(agent.last_seen_s, 2),
        tasks=[_task(run, owner) for run in busy.runs],
        running=agent.running,
        passed_on=_passed_on(agent.passed_on, owner),
    )


def _passed_on(view: PassedOnView | None, owner: str | None) -> shapes.PassedOn | None:
    if view is None:
        return None
    seen = (task for task in view.tasks if owner in (None, task.owner))
    return shapes.PassedOn(
        total=view.total,
        waiting=view.waiting,
        running=view.running,
        done=view.done,
        tasks=[
            shapes.PassedOnTask(task.task, task.expression_id, cast("shapes.PassedOnState", task.state))
            for task in itertools.islice(seen, PASSED_ON_MAX)
        ],
    )


def _task(run: RunView, owner: str | None) -> shapes.AgentTask:
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

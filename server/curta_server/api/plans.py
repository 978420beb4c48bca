"""Decoded plans of expressions that are looked at: a small cache, bounded by tasks."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from uuid import UUID

from curta_server import store
from curta_server.core.plan import Plan

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

TASKS_MAX: Final = 3_000_000
"""About 120 MB; one plan of any size is kept."""


class PlanCache:
    """The plans looked at last. A plan never changes, so that nothing here is ever stale."""

    def __init__(self, engine: AsyncEngine, tasks_max: int = TASKS_MAX) -> None:
        self._engine = engine
        self._tasks_max = tasks_max
        self._plans: OrderedDict[UUID, Plan] = OrderedDict()
        self._tasks = 0
        # One at a time: two requests for a long plan must not decode it twice, nor two long plans together
        # fill memory.
        self._decoding = asyncio.Lock()

    async def get(self, id: UUID) -> Plan | None:
        """The plan of an expression; None where there is no such expression."""
        if (plan := self._known(id)) is not None:
            return plan
        async with self._decoding:
            if (plan := self._known(id)) is not None:
                return plan
            async with self._engine.connect() as connection:
                found = await store.plan_of(connection, id)
            if found is None:
                return None
            text, encoded = found
            plan = await asyncio.to_thread(Plan.decode, encoded, text)
            self._keep(id, plan)
            return plan

    def _known(self, id: UUID) -> Plan | None:
        plan = self._plans.get(id)
        if plan is not None:
            self._plans.move_to_end(id)
        return plan

    def _keep(self, id: UUID, plan: Plan) -> None:
        self._plans[id] = plan
        self._tasks += _weight(plan)
        while self._tasks > self._tasks_max and len(self._plans) > 1:
            _, oldest = self._plans.popitem(last=False)
            self._tasks -= _weight(oldest)


def _weight(plan: Plan) -> int:
    # Never nothing: a million bare numbers must not stay either.
    return len(plan) + len(plan.text) // 16 + 100

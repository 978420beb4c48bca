"""What the plans of expressions cost, reckoned when somebody looks: a small cache for `GET
/expressions/{id}/plan`.

A plan of two million tasks is walked in slices, one plan at a time, so that nobody waits for it but whoever
asked.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

from curta_server import resources as shapes
from curta_server import store
from curta_server.api.plan_window import plan_of
from curta_server.core.plan import extend_finish_times
from curta_server.slices import Slices

if TYPE_CHECKING:
    from curta_server.api.plans import PlanCache
    from curta_server.api.services import Services
    from curta_server.core.plan import Plan
    from curta_server.planning import Durations

Key = TypeVar("Key")
Value = TypeVar("Value")

KEPT: Final = 1_000
STEP: Final = 2_000
"""So many tasks take about half a millisecond."""


class FigureCache:
    """The figures asked for last."""

    def __init__(self, services: Services, plans: PlanCache) -> None:
        self._services = services
        self._plans = plans
        self._costs: OrderedDict[tuple[UUID, Durations], tuple[int, int]] = OrderedDict()
        self._computed: OrderedDict[UUID, int | None] = OrderedDict()
        self._reckoning = asyncio.Lock()

    async def of(self, row: store.ExpressionRow, durations: Durations) -> shapes.PlanFigures:
        """Of the expression with this row. Raises: Problem 404."""
        async with self._reckoning:
            key = row.id, durations
            if key not in self._costs:
                plan = await plan_of(self._services, self._plans, row.id)
                _keep(self._costs, key, await costs(plan, durations))
            sequential_ms, critical_path_ms = self._costs[key]
            return shapes.PlanFigures(
                row.tasks,
                sequential_ms,
                critical_path_ms,
                await self._took(row) if row.status == "done" else None,
            )

    async def _took(self, row: store.ExpressionRow) -> int | None:
        if row.id not in self._computed:
            async with self._services.engine.connect() as connection:
                rows, computed_ms = await store.journal_took(connection, row.id)
            _keep(self._computed, row.id, computed_ms if rows == row.tasks else None)
        return self._computed[row.id]


async def costs(plan: Plan, durations: Durations) -> tuple[int, int]:
    """Milliseconds: one task after another, and with a slot for each that could run."""
    ends = array("q")
    slices = Slices()
    for begin in range(0, len(plan), STEP):
        part = slice(begin, begin + STEP)
        extend_finish_times(ends, plan.operations[part], plan.left[part], plan.right[part], durations)
        await slices.turn()
    sequential_ms = sum(plan.operations.count(code) * durations[code] for code in range(4))
    return sequential_ms, max(ends, default=0)


def _keep(kept: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    kept[key] = value
    if len(kept) > KEPT:
        kept.popitem(last=False)

"""What the topics `expressions` and `expression/<id>` show: read by the same functions as the routes.

Made by `live` for a room each. What is final, of an expression or of a task, is encoded once.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from curta_server import resources as shapes
from curta_server.api import expression_views, reading, rendering
from curta_server.api.expression_views import Window
from curta_server.api.plan_window import DEPTH_MAX, PlanWindow
from curta_server.errors import Problem
from curta_server.leading import Memory
from curta_server.live_messages import Subscribe
from curta_server.sources import PACE_S, Items

if TYPE_CHECKING:
    from curta_server.api.services import Context, Services
    from curta_server.store import ExpressionRow

_encoder: Final = msgspec.json.Encoder()


class ExpressionsSource:
    """A page of the list."""

    pace_s = PACE_S
    always = False

    def __init__(self, services: "Services", subscribe: Subscribe, scope: str | None) -> None:
        """Raises: Problem."""
        self._services = services
        self._window = Window.of(
            scope,
            statuses=tuple(subscribe.status),
            q=subscribe.q,
            cursor=None if subscribe.cursor is None else reading.payload_of(subscribe.cursor),
            limit=subscribe.limit,
        )
        self._final: dict[str, bytes] = {}
        """Those of the page that are final, as they were encoded last time."""

    async def items(self) -> Items:
        seen, following = await expression_views.page(self._services, self._window)
        items, final = {}, {}
        for row, memory in seen:
            id = str(row.id)
            item = self._final.get(id)
            if item is None:
                item = encoded(row, memory)
            if row.is_final:
                final[id] = item
            items[id] = item
        self._final = final
        return Items(items, following)


class ExpressionSource:
    """One expression, and a part of its plan."""

    pace_s = PACE_S
    always = False

    def __init__(self, context: "Context", subscribe: Subscribe, scope: str | None) -> None:
        """Raises: Problem."""
        self._context = context
        self._id = reading.uuid(subscribe.topic.partition("/")[2], "expression")
        self._scope = scope
        self._root, self._depth = subscribe.root, subscribe.depth
        if self._depth is not None and self._depth > DEPTH_MAX:
            raise Problem("unprocessable", f"`depth` must lie between 0 and {DEPTH_MAX}.")
        self._plan: PlanWindow | None = None
        self._items: dict[str, bytes] = {}
        self._is_final = False

    async def items(self) -> Items:
        if not self._is_final:
            await self._look()
        return Items(self._items.copy())

    async def _look(self) -> None:
        services = self._context.services
        row = await expression_views.row_of(services, self._id, self._scope)
        memory = await expression_views.memory_of(services, [row])
        if self._plan is None:
            self._plan = await PlanWindow.open(
                services, self._context.plans, self._id, self._root, self._depth
            )
        self._items[str(row.id)] = encoded(row, memory)
        for task in await self._plan.look(row):
            self._items[task.task] = _encoder.encode(task)
        self._is_final = row.is_final


def encoded(row: "ExpressionRow", memory: Memory) -> bytes:
    """An expression as it stands, cut as in lists."""
    shown: shapes.Expression = rendering.expression(row, memory)
    return _encoder.encode(shown)

"""The figures of the last minutes, for the charts; and which orchestrators there are. Served by every
orchestrator: one that follows asks the leader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response

from curta_server import resources as shapes
from curta_server.api import answers
from curta_server.api.access import READERS, allow
from curta_server.api.documentation import documented
from curta_server.api.rendering import moment
from curta_server.api.services import services

if TYPE_CHECKING:
    from curta_server.views import Second

statistics = Blueprint("statistics", __name__)


@statistics.get("/stats")
@allow(*READERS)
@documented("stats", {200: shapes.Statistics})
async def show_statistics() -> Response:
    """A point for each second of the last ten minutes, at most since the leader began to lead, and the
    orchestrators. While none leads there are no points."""
    board = services().stats_board
    points = [shown_point(second) for second in await board.seconds()]
    return answers.answer(shapes.Statistics(points, board.orchestrators()))


def shown_point(second: Second) -> shapes.Point:
    """A second as people see it; for the route and for `GET /live`."""
    at = moment(second.at_us)
    assert at is not None
    return shapes.Point(
        at=at,
        tasks_per_s=round(second.tasks_per_s, 1),
        ready=second.ready,
        running=second.running,
        slots_used=second.slots_used,
        slots_total=second.slots_total,
        agents=second.agents,
        expressions=second.expressions,
        dispatch_p50_ms=_rounded(second.dispatch_p50_ms),
        dispatch_p99_ms=_rounded(second.dispatch_p99_ms),
        commits_per_s=round(second.commits_per_s, 1),
        journal_backlog=second.journal_backlog,
    )


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)

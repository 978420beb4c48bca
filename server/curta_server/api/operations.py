"""The operations and how long they take."""

from __future__ import annotations

from typing import Final

import msgspec
from quart import Blueprint, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import resources as shapes
from curta_server import store
from curta_server.api import answers, reading
from curta_server.api.access import READERS, WRITERS, allow
from curta_server.api.documentation import documented
from curta_server.api.services import context
from curta_server.errors import Problem

operations = Blueprint("operations", __name__)

_change: Final = msgspec.json.Decoder(shapes.DurationChange)


@operations.get("/operations")
@allow(*READERS)
@documented("operations", {200: shapes.Operations})
async def list_operations() -> Response:
    """The four operations with their durations."""
    return answers.answer(shapes.Operations(await shown_operations(context().services.engine)))


async def shown_operations(engine: AsyncEngine) -> list[shapes.Operation]:
    """All operations as they stand; for the route and for `GET /live`."""
    async with engine.connect() as connection:
        rows = await store.operations(connection)
    return [shapes.Operation(row.name, row.symbol, row.duration_ms) for row in rows]


@operations.put("/operations/<name>")
@allow(*WRITERS)
@documented(
    "operations",
    {200: shapes.Operation},
    body=shapes.DurationChange,
    problems=("not_found", "unprocessable"),
)
async def set_duration(name: str) -> Response:
    """Change how long an operation takes. Counts for tasks handed out from then on."""
    duration_ms = (await reading.json_body(_change)).duration_ms
    if not 0 <= duration_ms <= shapes.DURATION_MS_MAX:
        raise Problem(
            "unprocessable", f"`duration_ms` must lie between 0 and {shapes.DURATION_MS_MAX} (a week)."
        )
    services = context().services
    async with services.engine.begin() as connection:
        row = await store.set_duration(connection, name, duration_ms) if "\0" not in name else None
    if row is None:
        raise Problem("not_found", "There is no such operation.")
    context().durations.forget()
    services.leading.set_duration(row.name, row.duration_ms)
    return answers.answer(shapes.Operation(row.name, row.symbol, row.duration_ms))

"""Which orchestrators are there: each writes a row of its own every few seconds.

Called by `presence`. Who leads is `leadership`'s, which has a connection and statements of its own.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class OrchestratorRow:
    """Who was there `seen_s` seconds ago, and where its peers reach it."""

    id: UUID
    url: str
    seen_s: float


_APPEAR = text("""
    INSERT INTO orchestrators (id, url, seen) VALUES (:id, :url, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET url = excluded.url, seen = excluded.seen
""")

_PRESENT = text("""
    SELECT id, url, extract(epoch FROM clock_timestamp() - seen)::float8 AS seen_s FROM orchestrators
    WHERE seen > clock_timestamp() - :fresh_s * interval '1 second'
    ORDER BY id LIMIT :limit
""")

_DISAPPEAR = text("DELETE FROM orchestrators WHERE id = :id")

_FORGET = text("DELETE FROM orchestrators WHERE seen < clock_timestamp() - :gone_s * interval '1 second'")


async def appear(connection: AsyncConnection, id: UUID, url: str) -> None:
    """This orchestrator is there, and its peers reach it at `url`."""
    await connection.execute(_APPEAR, {"id": id, "url": url})


async def present_orchestrators(
    connection: AsyncConnection, *, fresh_s: float, limit: int
) -> list[OrchestratorRow]:
    """Those that were there within the last `fresh_s` seconds; in an order that stays."""
    rows = await connection.execute(_PRESENT, {"fresh_s": fresh_s, "limit": limit})
    return [OrchestratorRow(*row) for row in rows]


async def disappear(connection: AsyncConnection, id: UUID) -> None:
    """This orchestrator stops."""
    await connection.execute(_DISAPPEAR, {"id": id})


async def forget_orchestrators(connection: AsyncConnection, *, gone_s: float) -> None:
    """Delete the rows of those that were not there for so long."""
    await connection.execute(_FORGET, {"gone_s": gone_s})

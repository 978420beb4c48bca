"""The operations and how long each of them takes."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class OperationRow:
    name: str
    symbol: str
    duration_ms: int


_ALL = text("SELECT name, symbol, duration_ms FROM operations ORDER BY position")

_SET = text(
    "UPDATE operations SET duration_ms = :duration_ms WHERE name = :name RETURNING name, symbol, duration_ms"
)


async def operations(connection: AsyncConnection) -> list[OperationRow]:
    """All four, in the order in which plans number them."""
    return [OperationRow(*row) for row in await connection.execute(_ALL)]


async def set_duration(connection: AsyncConnection, name: str, duration_ms: int) -> OperationRow | None:
    """Change how long an operation takes; None where there is no such operation."""
    row = (await connection.execute(_SET, {"name": name, "duration_ms": duration_ms})).one_or_none()
    return None if row is None else OperationRow(*row)

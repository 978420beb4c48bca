"""What the database remembers of agents: enough to show them, and to wait for them after a restart.

Called by the leader, rarely and in batches; who lives is known by the leader's memory alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """An agent as its session sees it; times are microseconds since 1970 UTC by the database's clock."""

    id: str
    name: str
    token_id: str
    owner: str
    slots: int
    operations: tuple[str, ...]
    version: str
    connected_us: int
    seen_us: int


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent as it was last written. `lost_at` is None while `connected`; until `removed_until` it is not
    let in."""

    id: UUID
    name: str
    token_id: UUID
    owner: str
    slots: int
    operations: list[str]
    version: str
    connected: bool
    draining: bool
    connected_at: datetime
    seen_at: datetime
    lost_at: datetime | None
    removed_until: datetime | None

    @property
    def is_lost(self) -> bool:
        """Whether it fell silent. Who left on purpose, or was told to, was seen at that very moment."""
        return self.lost_at is not None and self.seen_at < self.lost_at


_COLUMNS = """id, name, token_id, owner, slots, operations, version, connected, draining, connected_at,
    seen_at, lost_at, removed_until"""

# Draining survives reconnects, so it is not touched; ids are sorted by the caller, lest two batches deadlock.
_SAVE = text("""
    INSERT INTO agents (id, name, token_id, owner, slots, operations, version, connected,
        connected_at, seen_at)
    SELECT d.id, d.name, d.token_id, d.owner, d.slots, string_to_array(d.operations, ','), d.version, true,
           'epoch'::timestamptz + d.connected_us * interval '1 microsecond',
           'epoch'::timestamptz + d.seen_us * interval '1 microsecond'
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:names AS text[]), CAST(:token_ids AS uuid[]), CAST(:owners AS text[]),
        CAST(:slots AS integer[]), CAST(:operations AS text[]), CAST(:versions AS text[]),
        CAST(:connected_us AS bigint[]), CAST(:seen_us AS bigint[])
    ) AS d (id, name, token_id, owner, slots, operations, version, connected_us, seen_us)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, token_id = excluded.token_id, owner = excluded.owner,
        slots = excluded.slots, operations = excluded.operations, version = excluded.version, connected =
        true, connected_at = excluded.connected_at, seen_at = excluded.seen_at, lost_at = NULL
""")

_LOST = text("""
    UPDATE agents SET connected = false, lost_at = 'epoch'::timestamptz + d.lost_us * interval '1 microsecond'
    FROM unnest(CAST(:ids AS uuid[]), CAST(:lost_us AS bigint[])) AS d (id, lost_us)
    WHERE agents.id = d.id AND agents.connected
""")

_CONNECTED = text("SELECT id FROM agents WHERE connected")

_BY_IDS = text(f"SELECT {_COLUMNS} FROM agents WHERE id = ANY (CAST(:ids AS uuid[]))")

_RECENT = text(f"""
    SELECT {_COLUMNS} FROM agents
    WHERE (connected OR lost_at > clock_timestamp() - :lost_s * interval '1 second')
      AND (CAST(:after AS uuid) IS NULL OR id > :after)
    ORDER BY id LIMIT :limit
""")

_DRAIN = text("UPDATE agents SET draining = true WHERE id = :id RETURNING id")

_REMOVE = text("""
    UPDATE agents SET connected = false, lost_at = coalesce(lost_at, clock_timestamp()),
        removed_until = clock_timestamp() + :seconds * interval '1 second'
    WHERE id = :id RETURNING id
""")

_FORGET = text("""
    DELETE FROM agents WHERE id IN (
        SELECT id FROM agents WHERE NOT connected AND lost_at < clock_timestamp() - :days * interval '1 day'
        LIMIT :limit)
""")


async def save_agents(connection: AsyncConnection, agents: Sequence[AgentSeen]) -> None:
    """Remember that these are connected, with what they offer; a drain that was ordered stays ordered."""
    batch = sorted(agents, key=lambda agent: agent.id)
    await connection.execute(
        _SAVE,
        {
            "ids": [a.id for a in batch],
            "names": [a.name for a in batch],
            "token_ids": [a.token_id for a in batch],
            "owners": [a.owner for a in batch],
            "slots": [a.slots for a in batch],
            "operations": [",".join(a.operations) for a in batch],
            "versions": [a.version for a in batch],
            "connected_us": [a.connected_us for a in batch],
            "seen_us": [a.seen_us for a in batch],
        },
    )


async def mark_lost(connection: AsyncConnection, lost_us: dict[str, int]) -> None:
    """These left or fell silent, at these times; those known as lost already keep their time."""
    ids = sorted(lost_us)
    await connection.execute(_LOST, {"ids": ids, "lost_us": [lost_us[id] for id in ids]})


async def connected_agents(connection: AsyncConnection) -> set[UUID]:
    """Who was connected when the database last heard of it: a new leader waits for these."""
    return set((await connection.execute(_CONNECTED)).scalars())


async def agents_by_id(connection: AsyncConnection, ids: Iterable[UUID | str]) -> dict[UUID, AgentRow]:
    rows = [AgentRow(*row) for row in await connection.execute(_BY_IDS, {"ids": list(ids)})]
    return {row.id: row for row in rows}


async def list_agents(
    connection: AsyncConnection, *, after: UUID | None = None, limit: int = 1000, lost_s: float = 3600
) -> list[AgentRow]:
    """The connected ones and those lost within `lost_s` seconds, by ascending id, beyond `after`."""
    rows = await connection.execute(_RECENT, {"after": after, "limit": limit, "lost_s": lost_s})
    return [AgentRow(*row) for row in rows]


async def drain_agent(connection: AsyncConnection, id: UUID) -> bool:
    """No new tasks for this one, also when it comes back; False where it is not known."""
    return await connection.scalar(_DRAIN, {"id": id}) is not None


async def remove_agent(connection: AsyncConnection, id: UUID, *, seconds: float = 60) -> bool:
    """Not to be let in for so long; False where it is not known."""
    return await connection.scalar(_REMOVE, {"id": id, "seconds": seconds}) is not None


async def forget_agents(connection: AsyncConnection, *, days: float, limit: int) -> int:
    """Delete up to `limit` agents lost so long ago; returns how many."""
    return (await connection.execute(_FORGET, {"days": days, "limit": limit})).rowcount

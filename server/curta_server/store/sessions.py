"""Sessions: browsers that are signed in with a token. Cookies are never seen here, only their SHA-256.

Called by `credentials`. A session is good until it expires, which use puts off, and as long as its token is
usable; whatever is good no more may be deleted at any time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from curta_server.store.tokens import USABLE


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session and the token it stands for, whose own end is `token_expires_at`."""

    digest: bytes
    id: UUID
    expires_at: datetime
    token_id: UUID
    name: str
    role: str
    token_expires_at: datetime | None


_IN = "clock_timestamp() + :days * interval '1 day'"

_CREATE = text(f"""
    INSERT INTO sessions (digest, id, token_id, expires_at) VALUES (:digest, :id, :token_id, {_IN})
    RETURNING expires_at
""")

_CROWD_OUT = text("""
    DELETE FROM sessions WHERE digest IN (
        SELECT digest FROM sessions WHERE token_id = :token_id ORDER BY expires_at DESC OFFSET :most)
""")

_TOKENS = f"SELECT id, name, role, expires_at FROM tokens WHERE {USABLE}"

_BY_DIGESTS = text(f"""
    SELECT s.digest, s.id, s.expires_at, t.id, t.name, t.role, t.expires_at
    FROM sessions AS s JOIN ({_TOKENS}) AS t ON t.id = s.token_id
    WHERE s.digest = ANY (CAST(:digests AS bytea[])) AND s.expires_at > clock_timestamp()
""")

_RENEW = text(f"""
    UPDATE sessions SET expires_at = {_IN}
    WHERE digest = :digest AND expires_at > clock_timestamp() AND expires_at < {_IN} - interval '1 day'
    RETURNING expires_at
""")

_END = text("DELETE FROM sessions WHERE digest = :digest RETURNING id")

_OVER = text("""
    SELECT d.id FROM unnest(CAST(:ids AS uuid[])) AS d (id)
    WHERE NOT EXISTS (SELECT FROM sessions AS s WHERE s.id = d.id AND s.expires_at > clock_timestamp())
""")

_PRUNE = text(f"""
    DELETE FROM sessions WHERE digest IN (
        SELECT digest FROM sessions
        WHERE expires_at <= clock_timestamp() OR token_id NOT IN (SELECT id FROM ({_TOKENS}) AS t)
        LIMIT :limit)
""")


async def create_session(
    connection: AsyncConnection, *, digest: bytes, id: UUID, token_id: UUID, days: int, most: int
) -> datetime:
    """A new session; when it expires. Of the token's sessions the `most` are kept that were used last."""
    parameters = {"digest": digest, "id": id, "token_id": token_id, "days": days}
    expires_at: datetime = (await connection.execute(_CREATE, parameters)).scalar_one()
    await connection.execute(_CROWD_OUT, {"token_id": token_id, "most": most})
    return expires_at


async def sessions_by_digests(connection: AsyncConnection, digests: Sequence[bytes]) -> list[SessionRow]:
    """The sessions of these digests that are good, their tokens too."""
    return [SessionRow(*row) for row in await connection.execute(_BY_DIGESTS, {"digests": list(digests)})]


async def renew_session(connection: AsyncConnection, digest: bytes, days: int) -> datetime | None:
    """Put off a session's end to so many days from now; None where that is less than a day's difference, or
    the session is over."""
    found: datetime | None = await connection.scalar(_RENEW, {"digest": digest, "days": days})
    return found


async def end_session(connection: AsyncConnection, digest: bytes) -> UUID | None:
    """Sign out: which session that was, None where there is none."""
    found: UUID | None = await connection.scalar(_END, {"digest": digest})
    return found


async def sessions_over(connection: AsyncConnection, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these have ended or expired; what became of their tokens is not asked."""
    return set((await connection.execute(_OVER, {"ids": list(ids)})).scalars())


async def prune_sessions(connection: AsyncConnection, limit: int) -> int:
    """Delete up to `limit` sessions that are over, or whose token is unusable; returns how many."""
    return (await connection.execute(_PRUNE, {"limit": limit})).rowcount

"""Tokens: who may do what. Secrets are never seen here, only their SHA-256.

Called by `credentials` and by the command line; a token that is revoked or expired is not usable and stays in
the table, so that its name can still be shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

ROLES = ("viewer", "user", "admin", "agent")

Revocation = Literal["revoked", "unknown", "last_admin"]


@dataclass(frozen=True, slots=True)
class TokenRow:
    id: UUID
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


_COLUMNS = "id, name, role, created_at, expires_at, revoked_at, last_used_at"
USABLE = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())"

_CREATE = text(f"""
    INSERT INTO tokens (id, name, role, digest, expires_at) VALUES (:id, :name, :role, :digest, :expires_at)
    ON CONFLICT (digest) DO NOTHING RETURNING {_COLUMNS}
""")

_BY_DIGESTS = text(f"""
    SELECT {_COLUMNS}, digest FROM tokens WHERE digest = ANY (CAST(:digests AS bytea[])) AND {USABLE}
""")

_LIST = text(f"SELECT {_COLUMNS} FROM tokens WHERE revoked_at IS NULL ORDER BY created_at, id")

_IS_EMPTY = text("SELECT NOT EXISTS (SELECT FROM tokens)")

_LOCK = text("LOCK TABLE tokens IN SHARE ROW EXCLUSIVE MODE")

_ADMINS = text(f"SELECT id FROM tokens WHERE role = 'admin' AND {USABLE} ORDER BY id FOR UPDATE")

_REVOKE = text("""
    UPDATE tokens SET revoked_at = clock_timestamp() WHERE id = :id AND revoked_at IS NULL RETURNING id
""")

_EXISTS = text("SELECT id FROM tokens WHERE id = :id")

_UNUSABLE = text(f"""
    SELECT d.id FROM unnest(CAST(:ids AS uuid[])) AS d (id)
    WHERE NOT EXISTS (SELECT FROM tokens AS t WHERE t.id = d.id AND {USABLE})
""")

_TOUCH = text("""
    UPDATE tokens
    SET last_used_at = greatest(tokens.last_used_at, clock_timestamp() - d.ago_s * interval '1 second')
    FROM unnest(CAST(:ids AS uuid[]), CAST(:ago_s AS float8[])) AS d (id, ago_s) WHERE tokens.id = d.id
""")


async def create_token(
    connection: AsyncConnection, *, id: UUID, name: str, role: str, digest: bytes, expires_at: datetime | None
) -> TokenRow | None:
    """A new token; None where the same secret is there already."""
    parameters = {"id": id, "name": name, "role": role, "digest": digest, "expires_at": expires_at}
    row = (await connection.execute(_CREATE, parameters)).one_or_none()
    return None if row is None else TokenRow(*row)


async def tokens_by_digests(
    connection: AsyncConnection, digests: Sequence[bytes]
) -> list[tuple[TokenRow, bytes]]:
    """The usable tokens of these digests, with the digests as they are stored."""
    rows = await connection.execute(_BY_DIGESTS, {"digests": list(digests)})
    return [(TokenRow(*row[:-1]), row.digest) for row in rows]


async def list_tokens(connection: AsyncConnection) -> list[TokenRow]:
    """All that were not revoked, the oldest first; expired ones too."""
    return [TokenRow(*row) for row in await connection.execute(_LIST)]


async def lock_tokens(connection: AsyncConnection) -> bool:
    """Keep others from making tokens until the transaction ends; True where there has never been one."""
    await connection.execute(_LOCK)
    return bool(await connection.scalar(_IS_EMPTY))


async def revoke_token(connection: AsyncConnection, id: UUID) -> Revocation:
    """Make a token unusable for good; revoking again is `revoked` too. The last usable admin token is
    kept."""
    # The lock makes two admins that revoke each other take turns.
    admins = set((await connection.execute(_ADMINS)).scalars())
    if admins == {id}:
        return "last_admin"
    if await connection.scalar(_REVOKE, {"id": id}) is not None:
        return "revoked"
    return "unknown" if await connection.scalar(_EXISTS, {"id": id}) is None else "revoked"


async def unusable_tokens(connection: AsyncConnection, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these are revoked, expired or gone."""
    return set((await connection.execute(_UNUSABLE, {"ids": list(ids)})).scalars())


async def touch_tokens(connection: AsyncConnection, ago_s: Mapping[UUID, float]) -> None:
    """Remember when tokens were last used: so many seconds ago."""
    ids = sorted(ago_s)
    await connection.execute(_TOUCH, {"ids": ids, "ago_s": [ago_s[id] for id in ids]})

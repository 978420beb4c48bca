"""Tokens: whom a secret stands for, making and revoking them.

Called for every request and every agent's connection, and by `curta token`. A secret is shown once and kept
as its SHA-256 only: it has 256 random bits, so nothing slower is needed. Knows no routes and no roles'
rights.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import errors, store
from curta_server.store import Revocation, TokenRow

log = logging.getLogger(__name__)

CACHE_S = 0.5
"""A revoked token is refused within a second: half of it here, half in the poll of open connections."""
STALE_S = 60.0
"""While the database is away a token that was good so short a time ago is good still: agents stay
connected."""
CACHE_MAX = 1_000
LAST_USED_S = 60.0
"""`last_used_at` is written so often at most, for all tokens at once."""
SECRET_MIN = 32
NAME_MAX = 255


@dataclass(frozen=True, slots=True)
class Token:
    """Whom a secret stands for. The name is the owner: tokens with one name are one user."""

    id: UUID
    name: str
    role: str
    expires_at: datetime | None


@dataclass(slots=True)
class _Entry:
    token: Token | None = None
    checked_at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Credentials:
    """All about tokens, for one process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._cache: OrderedDict[bytes, _Entry] = OrderedDict()
        self._used: dict[UUID, float] = {}

    async def verify(self, secret: str) -> Token | None:
        """The token of this secret; None where there is none, or it is revoked or expired.

        Raises Problem `unavailable` while the database is away and the answer is not known.
        """
        digest = digest_of(secret)
        entry = self._cache.get(digest)
        if entry is None:
            entry = self._cache[digest] = _Entry()
            if len(self._cache) > CACHE_MAX:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(digest)
        if time.monotonic() - entry.checked_at > CACHE_S:
            async with entry.lock:  # many requests with one token ask once
                if time.monotonic() - entry.checked_at > CACHE_S:
                    await self._look_up(digest, entry)
        token = entry.token
        if token is None:
            # Not kept: a token may be made any moment, and strangers' guesses are not worth the room.
            if self._cache.get(digest) is entry:
                del self._cache[digest]
            return None
        if token.expires_at is not None and token.expires_at <= datetime.now(UTC):
            return None
        self._used[token.id] = time.monotonic()
        return token

    async def _look_up(self, digest: bytes, entry: _Entry) -> None:
        asked_at = time.monotonic()
        try:
            async with self._engine.connect() as connection:
                found = await store.token_by_digest(connection, digest)
        except Exception as error:
            if not store.is_outage(error):
                raise
            if entry.token is not None and asked_at - entry.checked_at < STALE_S:
                return
            raise errors.unavailable("The database is away.") from error
        if found is not None and hmac.compare_digest(found[1], digest):
            row = found[0]
            entry.token = Token(row.id, row.name, row.role, row.expires_at)
        else:
            entry.token = None
        entry.checked_at = asked_at

    async def revoked(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of these tokens are good no more (revoked, expired or gone): to be asked every CACHE_S for
        open connections. While the database is away: none."""
        if not ids:
            return set()
        try:
            async with self._engine.connect() as connection:
                return await store.unusable_tokens(connection, list(ids))
        except Exception as error:
            if not store.is_outage(error):
                raise
            return set()

    async def create(self, name: str, role: str, expires_at: datetime | None = None) -> tuple[TokenRow, str]:
        """A new token and its secret, which nobody can show again.

        Raises Problem `unprocessable` for a name or role that cannot be.
        """
        if not 1 <= len(name) <= NAME_MAX or not name.isprintable():
            raise errors.Problem("unprocessable", f"A name has 1 to {NAME_MAX} printable characters.")
        if role not in store.ROLES:
            raise errors.Problem("unprocessable", f"The role is one of {', '.join(store.ROLES)}.")
        secret = new_secret()
        async with self._engine.begin() as connection:
            row = await store.create_token(
                connection, id=uuid4(), name=name, role=role, digest=digest_of(secret), expires_at=expires_at
            )
        assert row is not None, "256 random bits came twice"
        return row, secret

    async def list(self) -> list[TokenRow]:
        """All that were not revoked, the oldest first."""
        async with self._engine.connect() as connection:
            return await store.list_tokens(connection)

    async def revoke(self, id: UUID) -> Revocation:
        """Make a token unusable: here at once, elsewhere within CACHE_S. The last admin token is kept."""
        async with self._engine.begin() as connection:
            outcome = await store.revoke_token(connection, id)
        if outcome == "revoked":
            for entry in self._cache.values():
                if entry.token is not None and entry.token.id == id:
                    entry.checked_at = float("-inf")
        return outcome

    async def bootstrap(self, admin_secret: str, agent_secret: str) -> bool:
        """Make the first tokens, named `admin` and `agent`, from given secrets ("" for none), where there has
        never been a token. False, and nothing done, where there has. Several orchestrators may do so at once.

        Raises ValueError for a secret shorter than SECRET_MIN characters.
        """
        given = [
            (role, secret) for role, secret in (("admin", admin_secret), ("agent", agent_secret)) if secret
        ]
        for role, secret in given:
            if len(secret) < SECRET_MIN:
                raise ValueError(f"CURTA_{role.upper()}_TOKEN has fewer than {SECRET_MIN} characters")
        if not given:
            return False
        async with self._engine.begin() as connection:
            if not await store.lock_tokens(connection):
                return False
            for role, secret in given:
                await store.create_token(
                    connection, id=uuid4(), name=role, role=role, digest=digest_of(secret), expires_at=None
                )
        return True

    async def run(self) -> None:
        """Write now and then when tokens were last used, until cancelled."""
        while True:
            await asyncio.sleep(LAST_USED_S)
            await self.flush()

    async def flush(self) -> None:
        """Write when tokens were last used. While the database is away it is put off."""
        used, self._used = self._used, {}
        if not used:
            return
        now = time.monotonic()
        try:
            async with self._engine.begin() as connection:
                await store.touch_tokens(connection, {id: now - at for id, at in used.items()})
        except Exception as error:
            if not store.is_outage(error):
                raise
            self._used = used | self._used


def new_secret() -> str:
    """A secret with 256 random bits; the prefix lets scanners of leaked secrets know it."""
    return f"curta_{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()

"""Tokens: whom a secret stands for, making and revoking them.

Called for every request and every agent's connection, and by `curta token`. A secret is shown once and kept
as its SHA-256 only: it has 256 random bits, so nothing slower is needed. It is found by that hash and never
compared itself, so that no answer's timing tells how much of a guess is right. Knows no routes and no roles'
rights.
"""

import asyncio
import hashlib
import itertools
import logging
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
CACHE_MAX = 10_000
"""Tokens that are kept, and strangers' guesses: each few hundred bytes."""
QUESTIONS_MAX = 1_000
"""Of one query."""
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


class TokenEnded(Exception):
    """The token was revoked or expired while something was going on in its name."""


@dataclass(slots=True)
class _Entry:
    """What is known of one digest: as of when it was last asked, and when asking last failed."""

    token: Token | None = None
    checked_at: float = -math.inf
    failed_at: float = -math.inf


class Credentials:
    """All about tokens, for one process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # Strangers have a place of their own: guessing pushes no good token out.
        self._known: OrderedDict[bytes, _Entry] = OrderedDict()
        self._strangers: OrderedDict[bytes, _Entry] = OrderedDict()
        self._wanted: dict[bytes, _Entry] = {}
        self._asking: asyncio.Event | None = None
        self._open: dict[UUID, set[asyncio.Timeout]] = {}
        self._used: dict[UUID, float] = {}

    async def verify(self, secret: str) -> Token | None:
        """The token of this secret; None where there is none, or it is revoked or expired.

        Raises Problem `unavailable` while the database is away and the answer is not known.
        """
        if len(secret) < SECRET_MIN:
            return None  # none is so short: see bootstrap and new_secret
        digest = digest_of(secret)
        entry = self._known.get(digest)
        if entry is not None:
            self._known.move_to_end(digest)
        else:
            entry = self._strangers.setdefault(digest, _Entry())
            _trim(self._strangers)
        asked_at = time.monotonic()
        if asked_at - entry.checked_at > CACHE_S:
            await self._look_up(digest, entry, asked_at)
        token = entry.token
        if token is None:
            if self._known.get(digest) is entry:
                del self._known[digest]
            return None
        if self._known.setdefault(digest, entry) is entry:
            _trim(self._known)
            self._strangers.pop(digest, None)
        if token.expires_at is not None and token.expires_at <= datetime.now(UTC):
            return None
        self._used[token.id] = time.monotonic()
        return token

    async def _look_up(self, digest: bytes, entry: _Entry, asked_at: float) -> None:
        """Have `entry` say what the table says, or said at most CACHE_S before `asked_at`.

        One question is on its way to the database at a time, and takes along all that gathered meanwhile: so
        neither many requests with one token nor many guesses ask much, and they never take more than one
        connection.
        """
        while asked_at - entry.checked_at > CACHE_S:
            if entry.failed_at >= asked_at:
                if entry.token is not None and asked_at - entry.checked_at < STALE_S:
                    return
                raise errors.unavailable("The database is away.")
            self._wanted[digest] = entry
            if self._asking is not None:
                await self._asking.wait()
            else:
                await self._ask()

    async def _ask(self) -> None:
        self._asking = asyncio.Event()
        wanted = dict(itertools.islice(self._wanted.items(), QUESTIONS_MAX))
        for digest in wanted:
            del self._wanted[digest]
        asked_at = time.monotonic()
        try:
            async with self._engine.connect() as connection:
                rows = await store.tokens_by_digests(connection, list(wanted))
        except Exception as error:
            if not store.is_outage(error):
                raise
            failed_at = time.monotonic()
            for entry in wanted.values():
                entry.failed_at = failed_at
        else:
            found = {digest: row for row, digest in rows}
            for digest, entry in wanted.items():
                row = found.get(digest)
                entry.token = None if row is None else Token(row.id, row.name, row.role, row.expires_at)
                entry.checked_at = asked_at
        finally:
            # Where this one was cancelled, whoever waits for it asks again.
            self._asking.set()
            self._asking = None

    # --- what lasts ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def while_good(self, token: Token) -> AsyncIterator[None]:
        """Run the block for as long as the token is good. Raises: TokenEnded, at its expiry or within CACHE_S
        of its being revoked, from wherever the block waits."""
        ends = asyncio.timeout(None)
        try:
            async with ends:
                if token.expires_at is not None:
                    left_s = (token.expires_at - datetime.now(UTC)).total_seconds()
                    ends.reschedule(asyncio.get_running_loop().time() + left_s)
                self._open.setdefault(token.id, set()).add(ends)
                try:
                    yield
                finally:
                    others = self._open[token.id]
                    others.remove(ends)
                    if not others:
                        del self._open[token.id]
        except TimeoutError:
            if not ends.expired():
                raise  # somebody else's
            raise TokenEnded from None

    async def revoked(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of these tokens are good no more (revoked, expired or gone): to be asked every CACHE_S for
        open connections. Ends what `while_good` protects in passing. While the database is away: none."""
        asked = {*ids, *self._open}
        if not asked:
            return set()
        try:
            async with self._engine.connect() as connection:
                ended = await store.unusable_tokens(connection, list(asked))
        except Exception as error:
            if not store.is_outage(error):
                raise
            return set()
        self._used |= dict.fromkeys(asked - ended, time.monotonic())
        for id in ended:
            self._end(id)
        return ended & set(ids)

    def _end(self, id: UUID) -> None:
        now = asyncio.get_running_loop().time()
        for ends in self._open.get(id, ()):
            if not ends.expired():
                ends.reschedule(now)

    # --- making and revoking ------------------------------------------------------------------------

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
            for entry in self._known.values():
                if entry.token is not None and entry.token.id == id:
                    entry.checked_at = -math.inf
            self._end(id)
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


def _trim(entries: OrderedDict[bytes, _Entry]) -> None:
    if len(entries) > CACHE_MAX:
        entries.popitem(last=False)

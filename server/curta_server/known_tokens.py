"""Which token a secret stands for, by its digest: what the tables said a moment ago."""

import asyncio
import itertools
import math
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import errors, store

CACHE_S = 0.5
"""A revoked token is refused within a second: half of it here, half in the poll of open connections."""
STALE_S = 60.0
"""While the database is away a token that was good so short a time ago is good still: agents stay
connected."""
CACHE_MAX = 10_000
"""Tokens that are kept, and strangers' guesses: each few hundred bytes."""
QUESTIONS_MAX = 1_000
"""Of one query."""


@dataclass(frozen=True, slots=True)
class Token:
    """Whom a secret stands for. The name is the owner: tokens with one name are one user.

    `session` is set where a browser's session speaks in the token's name.
    """

    id: UUID
    name: str
    role: str
    expires_at: datetime | None
    session: UUID | None = None
    session_expires_at: datetime | None = None

    @property
    def ends_at(self) -> datetime | None:
        """When it is good no more, if nothing else happens."""
        return min((at for at in (self.expires_at, self.session_expires_at) if at is not None), default=None)


@dataclass(slots=True)
class _Entry:
    """What is known of one digest, a token's or a session's: as of when it was last asked, and when asking
    last failed."""

    is_session: bool
    token: Token | None = None
    checked_at: float = -math.inf
    failed_at: float = -math.inf


class KnownTokens:
    """The tokens that are used in this process, as the tables said at most CACHE_S ago."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # Strangers have a place of their own: guessing pushes no good token out.
        self._known: OrderedDict[bytes, _Entry] = OrderedDict()
        self._strangers: OrderedDict[bytes, _Entry] = OrderedDict()
        self._wanted: dict[bytes, _Entry] = {}
        self._asking: asyncio.Event | None = None

    async def find(self, digest: bytes, *, is_session: bool) -> Token | None:
        """The token that this digest of a secret, a session's or its own, stands for; None where there is
        none, or it is revoked or expired.

        Raises Problem `unavailable` while the database is away and the answer is not known.
        """
        entry = self._known.get(digest)
        if entry is not None:
            self._known.move_to_end(digest)
        else:
            entry = self._strangers.setdefault(digest, _Entry(is_session))
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
        if token.ends_at is not None and token.ends_at <= datetime.now(UTC):
            return None
        return token

    def doubt(self, digest: bytes) -> None:
        """Something of it has changed: whoever asks next asks the table."""
        entry = self._known.get(digest)
        if entry is not None:
            entry.checked_at = -math.inf

    def doubt_token(self, id: UUID) -> None:
        """The same for a token's own secret and for those of all sessions in its name."""
        for entry in self._known.values():
            if entry.token is not None and entry.token.id == id:
                entry.checked_at = -math.inf

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
            found = await self._answers(wanted)
        except Exception as error:
            if not store.is_outage(error):
                raise
            failed_at = time.monotonic()
            for entry in wanted.values():
                entry.failed_at = failed_at
        else:
            for digest, entry in wanted.items():
                entry.token = found.get(digest)
                entry.checked_at = asked_at
        finally:
            # Where this one was cancelled, whoever waits for it asks again.
            self._asking.set()
            self._asking = None

    async def _answers(self, wanted: Mapping[bytes, _Entry]) -> dict[bytes, Token]:
        """What the tables say of these digests."""
        tokens = [digest for digest, entry in wanted.items() if not entry.is_session]
        sessions = [digest for digest, entry in wanted.items() if entry.is_session]
        found: dict[bytes, Token] = {}
        async with self._engine.connect() as connection:
            if tokens:
                for row, digest in await store.tokens_by_digests(connection, tokens):
                    found[digest] = Token(row.id, row.name, row.role, row.expires_at)
            if sessions:
                for one in await store.sessions_by_digests(connection, sessions):
                    found[one.digest] = Token(
                        one.token_id, one.name, one.role, one.token_expires_at, one.id, one.expires_at
                    )
        return found


def _trim(entries: OrderedDict[bytes, _Entry]) -> None:
    if len(entries) > CACHE_MAX:
        entries.popitem(last=False)

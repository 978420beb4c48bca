"""Tokens and sessions: whom a secret stands for, making and ending them.

Called for every request and every connection, and by `curta token`. A secret is shown once and kept as its
SHA-256 only: it has 256 random bits, so nothing slower is needed. It is found by that hash and never compared
itself, so that no answer's timing tells how much of a guess is right. A session is a browser's own secret for
a token: it ends with the token, at sign-out, or when it has not been used for long. Neither kind of secret is
taken for the other. Knows no routes, no cookies and no roles' rights.
"""

import asyncio
import hashlib
import itertools
import logging
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
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
SESSION_DAYS = 30
"""A session that was not used for so long is over."""
SESSIONS_MAX = 1_000
"""Of one token; beyond, the one that was not used for the longest time ends."""


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


class TokenEnded(Exception):
    """The token was revoked or expired, or its session ended, while something was going on in its name."""


@dataclass(slots=True)
class _Entry:
    """What is known of one digest, a token's or a session's: as of when it was last asked, and when asking
    last failed."""

    is_session: bool
    token: Token | None = None
    checked_at: float = -math.inf
    failed_at: float = -math.inf


class Credentials:
    """All about tokens and sessions, for one process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.is_bootstrapped = False
        """Whether the first tokens are there, as far as any were to be made."""
        # Strangers have a place of their own: guessing pushes no good token out.
        self._known: OrderedDict[bytes, _Entry] = OrderedDict()
        self._strangers: OrderedDict[bytes, _Entry] = OrderedDict()
        self._wanted: dict[bytes, _Entry] = {}
        self._asking: asyncio.Event | None = None
        # By token and by session: whatever lasts in the name of either.
        self._open: dict[UUID, set[asyncio.Timeout]] = {}
        self._sessions: dict[UUID, set[asyncio.Timeout]] = {}
        self._used: dict[UUID, float] = {}

    async def verify(self, secret: str) -> Token | None:
        """The token of this secret; None where there is none, or it is revoked or expired.

        Raises Problem `unavailable` while the database is away and the answer is not known.
        """
        if len(secret) < SECRET_MIN:
            return None  # none is so short: see bootstrap and new_secret
        return await self._find(digest_of(secret), is_session=False)

    async def signed_in(self, secret: str) -> Token | None:
        """The token of this session's secret; None where there is none, or it or the token is over.

        Raises Problem `unavailable` while the database is away and the answer is not known.
        """
        if len(secret) < SECRET_MIN:
            return None
        return await self._find(session_digest_of(secret), is_session=True)

    async def _find(self, digest: bytes, *, is_session: bool) -> Token | None:
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

    # --- what lasts ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def while_good(self, token: Token) -> AsyncIterator[None]:
        """Run the block for as long as the token is good, and the session that speaks in its name. Raises:
        TokenEnded, at its expiry or within CACHE_S of its being revoked or signed out, from wherever the
        block waits."""
        ends = asyncio.timeout(None)
        try:
            async with ends:
                if token.expires_at is not None:
                    # A session's own end is not awaited here: use puts it off meanwhile.
                    left_s = (token.expires_at - datetime.now(UTC)).total_seconds()
                    ends.reschedule(asyncio.get_running_loop().time() + left_s)
                with _listed(self._open, token.id, ends), _listed(self._sessions, token.session, ends):
                    yield
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
                sessions = list(self._sessions)
                over = await store.sessions_over(connection, sessions) if sessions else set()
        except Exception as error:
            if not store.is_outage(error):
                raise
            return set()
        self._used |= dict.fromkeys(asked - ended, time.monotonic())
        for id in ended:
            _end(self._open.get(id, ()))
        for id in over:
            _end(self._sessions.get(id, ()))
        return ended & set(ids)

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
            _end(self._open.get(id, ()))
        return outcome

    # --- signing in and out -------------------------------------------------------------------------

    async def sign_in(self, token: Token) -> tuple[Token, str]:
        """A new session in the token's name, and its secret, which nobody can show again."""
        id, secret = uuid4(), new_secret()
        async with self._engine.begin() as connection:
            expires_at = await store.create_session(
                connection,
                digest=session_digest_of(secret),
                id=id,
                token_id=token.id,
                days=SESSION_DAYS,
                most=SESSIONS_MAX,
            )
        return replace(token, session=id, session_expires_at=expires_at), secret

    async def renew(self, secret: str, token: Token) -> bool:
        """Whether the session, whose secret and token these are, was put off just now: at most once a day.
        While the database is away it is not."""
        ends_at = token.session_expires_at
        if ends_at is None or ends_at - datetime.now(UTC) > timedelta(days=SESSION_DAYS - 1):
            return False
        digest = session_digest_of(secret)
        try:
            async with self._engine.begin() as connection:
                is_renewed = await store.renew_session(connection, digest, SESSION_DAYS) is not None
        except Exception as error:
            if not store.is_outage(error):
                raise
            return False
        self._ask_again(digest)
        return is_renewed

    async def sign_out(self, secret: str) -> None:
        """End the session of this secret: here at once, elsewhere within CACHE_S. None is fine, too."""
        digest = session_digest_of(secret)
        async with self._engine.begin() as connection:
            id = await store.end_session(connection, digest)
        self._ask_again(digest)
        if id is not None:
            _end(self._sessions.get(id, ()))

    def _ask_again(self, digest: bytes) -> None:
        entry = self._known.get(digest)
        if entry is not None:
            entry.checked_at = -math.inf

    # --- the first tokens, and last use -------------------------------------------------------------

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
        is_first = False
        if given:
            async with self._engine.begin() as connection:
                is_first = await store.lock_tokens(connection)
                for role, secret in given if is_first else ():
                    await store.create_token(
                        connection,
                        id=uuid4(),
                        name=role,
                        role=role,
                        digest=digest_of(secret),
                        expires_at=None,
                    )
        self.is_bootstrapped = True
        return is_first

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


def session_digest_of(secret: str) -> bytes:
    """What is stored of a session's secret: never what would be stored of a token's."""
    return hashlib.sha256(b"session " + secret.encode()).digest()


@contextmanager
def _listed(open: dict[UUID, set[asyncio.Timeout]], id: UUID | None, ends: asyncio.Timeout) -> Iterator[None]:
    """Keep `ends` among those of this id for the block; None is nobody's."""
    if id is None:
        yield
        return
    open.setdefault(id, set()).add(ends)
    try:
        yield
    finally:
        others = open[id]
        others.remove(ends)
        if not others:
            del open[id]


def _end(open: Collection[asyncio.Timeout]) -> None:
    now = asyncio.get_running_loop().time()
    for ends in open:
        if not ends.expired():
            ends.reschedule(now)


def _trim(entries: OrderedDict[bytes, _Entry]) -> None:
    if len(entries) > CACHE_MAX:
        entries.popitem(last=False)

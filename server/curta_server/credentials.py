"""Tokens and sessions: whom a secret stands for, making and ending them.

Called for every request and every connection, and by `curta token`. A secret is shown once and kept as its
SHA-256 only: it has 256 random bits, so nothing slower is needed. It is found by that hash and never compared
itself, so that no answer's timing tells how much of a guess is right. A session is a browser's own secret for
a token: it ends with the token, at sign-out, or when it has not been used for long. Neither kind of secret is
taken for the other. Knows no routes, no cookies and no roles' rights.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import errors, store
from curta_server.known_tokens import KnownTokens, Token
from curta_server.store import Revocation, TokenRow

log = logging.getLogger(__name__)

LAST_USED_S = 60.0
"""`last_used_at` is written so often at most, for all tokens at once."""
SECRET_MIN = 32
NAME_MAX = 255
SESSION_DAYS = 30
"""A session that was not used for so long is over."""
SESSIONS_MAX = 1_000
"""Of one token; beyond, the one that was not used for the longest time ends."""


class TokenEnded(Exception):
    """The token was revoked or expired, or its session ended, while something was going on in its name."""


class Credentials:
    """All about tokens and sessions, for one process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.is_bootstrapped = False
        """Whether the first tokens are there, as far as any were to be made."""
        self._known = KnownTokens(engine)
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
        token = await self._known.find(digest, is_session=is_session)
        if token is not None:
            self._used[token.id] = time.monotonic()
        return token

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
            self._known.doubt_token(id)
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
        self._known.doubt(digest)
        return is_renewed

    async def sign_out(self, secret: str) -> None:
        """End the session of this secret: here at once, elsewhere within CACHE_S. None is fine, too."""
        digest = session_digest_of(secret)
        async with self._engine.begin() as connection:
            id = await store.end_session(connection, digest)
        self._known.doubt(digest)
        if id is not None:
            _end(self._sessions.get(id, ()))

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
